"""The settings: read at use, and given by the environment."""

import os

import pytest
from django.test import override_settings
from environs import Env, EnvError

from progress.conf import Conf, conf, settings_from_environment, types


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
    assert set(types().values()) <= {int, float, str}


def test_settings_from_environment__none_given(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROGRESS_")]:
        monkeypatch.delenv(name)
    assert settings_from_environment(Env()) == {}


def test_settings_from_environment__of_their_types(monkeypatch):
    monkeypatch.setenv("PROGRESS_HEARTBEAT_SECONDS", "10")
    monkeypatch.setenv("PROGRESS_RING_EVENTS", "64")
    found = settings_from_environment(Env())
    assert (found["PROGRESS_HEARTBEAT_SECONDS"], found["PROGRESS_RING_EVENTS"]) == (10.0, 64)
    assert isinstance(found["PROGRESS_HEARTBEAT_SECONDS"], float)


@pytest.mark.parametrize(("name", "value"), [("RING_EVENTS", "1.5"), ("RING_EVENTS", "many"), ("SYNC_SECONDS", "x")])
def test_settings_from_environment__a_bad_value_names_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"PROGRESS_{name}", value)
    with pytest.raises(EnvError, match=f"PROGRESS_{name}"):
        settings_from_environment(Env())
