import pytest
import torch

from arseg.errors import ConfigError
from arseg.models.device import resolve_device, resolve_devices


def test_device_names():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", ""])
def test_unknown_device_is_refused(name):
    with pytest.raises(ConfigError, match=r"expected auto, cpu, or cuda:N"):
        resolve_device(name)


def test_missing_cuda_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"--device cuda:0: .* finds no CUDA device here. Use --device cpu"):
        resolve_device("cuda:0")


class TestThreeGpus:
    """PyTorch is made to see them."""

    @pytest.fixture(autouse=True)
    def _three_gpus(self, monkeypatch, tmp_path):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
        properties = [type("Properties", (), {"uuid": f"gpu-{index}"}) for index in range(3)]
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties[index])
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        monkeypatch.setattr("arseg.models.device._leases", [])

    def test_jobs_get_gpus_of_their_own_as_long_as_there_are_any(self, caplog):
        assert [device.index for device in resolve_devices("auto", 2)] == [0, 1]
        assert [device.index for device in resolve_devices("cuda")] == [2]
        assert "sharing" not in caplog.text
        assert [device.index for device in resolve_devices("auto")] == [0]
        assert "other processes of yours use cuda:0; sharing" in caplog.text

    def test_a_named_gpu_is_taken_as_it_is(self):
        assert resolve_devices("cuda:1") == (torch.device("cuda", 1),)
        with pytest.raises(ConfigError, match=r"--device cuda:1 --devices 2: one device was named"):
            resolve_devices("cuda:1", 2)

    def test_further_processes_of_a_training_take_what_the_first_one_took(self, monkeypatch):
        resolve_devices("auto")
        taken = resolve_devices("auto", 2)
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert resolve_devices("auto", 2) == taken

    def test_more_than_there_are_is_refused(self):
        with pytest.raises(ConfigError, match=r"finds 3 CUDA device\(s\) here"):
            resolve_devices("auto", 4)
