"""The settings: read at use."""

from typing import get_origin

import pytest
from django.test import override_settings

from progress.conf import Conf, conf, types


def test_conf__default():
    assert conf.HEARTBEAT_SECONDS == 25.0


def test_conf__is_read_at_use():
    with override_settings(PROGRESS_HEARTBEAT_SECONDS=1.5):
        assert conf.HEARTBEAT_SECONDS == 1.5
    assert conf.HEARTBEAT_SECONDS == 25.0


def test_conf__an_unknown_name_is_an_error():
    with override_settings(PROGRESS_NOTHING=1), pytest.raises(AttributeError):
        _ = conf.NOTHING


def test_types__every_setting_has_one():
    assert set(types()) == {name for name in vars(Conf) if name.isupper()}
    assert {get_origin(kind) or kind for kind in types().values()} == {int, float, str, tuple}
