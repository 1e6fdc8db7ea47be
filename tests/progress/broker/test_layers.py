"""The channel layer that is configured, and when it is imported."""

import pytest

from progress.broker import layers


@pytest.mark.parametrize("configured", [{}, None, {"default": {"BACKEND": "no.such"}}])
def test_load__a_layer_that_can_not_be_had_is_for_its_users_to_name(settings, configured):
    settings.CHANNEL_LAYERS = configured
    layers.load()


def test_start__imports_the_layer_before_the_first_event(make_site):
    printed = make_site("sqlite+redis").worker("import sys; print('progress.broker.redis_layer' in sys.modules)")
    assert printed.strip() == "True"
