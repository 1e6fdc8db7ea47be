"""The settings of the progress app, given by the environment."""

import os

import pytest
from environs import Env, EnvError

from progress_site.environment import settings_from_environment


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


def test_settings_from_environment__keys_as_json(monkeypatch):
    monkeypatch.setenv("PROGRESS_TOKEN_KEYS", '[{"kid": "billing", "alg": "HS256", "key": "…", "may_grant": true}]')
    found = settings_from_environment(Env())
    assert found["PROGRESS_TOKEN_KEYS"] == [{"kid": "billing", "alg": "HS256", "key": "…", "may_grant": True}]


@pytest.mark.parametrize(("name", "value"), [("RING_EVENTS", "1.5"), ("RING_EVENTS", "many"), ("SYNC_SECONDS", "x")])
def test_settings_from_environment__a_bad_value_names_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"PROGRESS_{name}", value)
    with pytest.raises(EnvError, match=f"PROGRESS_{name}"):
        settings_from_environment(Env())


def test_settings_from_environment__kinds_of_jobs_as_json(monkeypatch):
    monkeypatch.setenv("JOBS_KINDS", '{"thumbnails": {"recovery": "requeue"}}')
    assert settings_from_environment(Env())["JOBS_KINDS"] == {"thumbnails": {"recovery": "requeue"}}
    monkeypatch.setenv("JOBS_KINDS", "thumbnails")
    with pytest.raises(EnvError, match="JOBS_KINDS"):
        settings_from_environment(Env())


def test_settings_from_environment__of_the_jobs_app(monkeypatch):
    monkeypatch.setenv("JOBS_KEEP_DAYS", "30")
    monkeypatch.setenv("JOBS_KEEP_COUNT", "1000")
    found = settings_from_environment(Env())
    assert (found["JOBS_KEEP_DAYS"], found["JOBS_KEEP_COUNT"]) == (30.0, 1000)
    monkeypatch.setenv("JOBS_KEEP_COUNT", "many")
    with pytest.raises(EnvError, match="JOBS_KEEP_COUNT"):
        settings_from_environment(Env())
