"""Settings say what is wrong with them."""

import pytest

from ClaireDSALib.pipeline.settings import Settings


def test_settings_read_back_equal_the_ones_written():
    settings = Settings(device="cpu", suitability_rules=({"label": "side"},))
    assert Settings.from_dict(settings.to_dict()) == settings


def test_an_unknown_setting_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown settings \['colour'\]; known are .*device"):
        Settings.from_dict({"colour": "red"})


@pytest.mark.parametrize(("name", "value"), [("device", "tpu"), ("cam_method", "x"), ("motion_correction", "x")])
def test_a_value_outside_its_choices_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be one of .*; got {value!r}"):
        Settings(**{name: value})
