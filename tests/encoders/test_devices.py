"""Devices by name, precision by device, and batches that shrink where memory runs out."""

import logging

import numpy as np
import pytest
import torch

from encoders._devices import ROWS, Batches, device_of, dtype_of, ready, sent
from retriever.errors import DeviceError

CPU = torch.device("cpu")


def rows(few: slice) -> torch.Tensor:
    return torch.arange(few.start, few.stop, dtype=torch.float32)[:, None]


class Small:
    """A device that holds few rows at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, few: slice) -> torch.Tensor:
        self.sizes.append(few.stop - few.start)
        if self.sizes[-1] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return rows(few)


def test_auto_is_a_device_that_is_here() -> None:
    assert device_of("auto").type in ROWS
    assert device_of("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cpu:1", "cuda:x", "cuda:-1", "mps:0", "CUDA"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="wanted auto, cpu, cuda, cuda:N or mps"):
        device_of(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_cuda_asked_for_and_absent_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=rf"^device {name}: .*CUDA.*; take --device cpu or auto") as caught:
        device_of(name)
    assert "\n" not in str(caught.value)


def test_a_gpu_beyond_those_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="device cuda:2: there are 2 CUDA devices, the last is cuda:1"):
        device_of("cuda:2")


def test_mps_asked_for_and_absent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="device mps: torch finds no Apple GPU"):
        device_of("mps")


def test_precision_goes_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dtype_of("auto", CPU) == torch.float32
    assert dtype_of("bf16", CPU) == torch.bfloat16
    for capability, wanted in (((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, is_=capability: is_)
        assert dtype_of("auto", torch.device("cuda", 0)) == wanted


def test_precision_that_is_none_or_not_here_is_refused() -> None:
    with pytest.raises(ValueError, match="precision is 'half', wanted auto, fp32, bf16, fp16"):
        dtype_of("half", CPU)
    with pytest.raises(DeviceError, match=r"precision fp16: .* take bf16 or fp32"):
        dtype_of("fp16", CPU)


@pytest.mark.parametrize("count", [1, 3, 4, 16, 17, 100])
def test_every_row_comes_once_and_in_order(count: int) -> None:
    np.testing.assert_array_equal(Batches(CPU).run(count, rows)[:, 0], np.arange(count))


def test_batches_are_of_few_sizes() -> None:
    device = Small(room=1000)
    batches = Batches(CPU)
    for count in range(1, 60):
        batches.run(count, device)
    assert set(device.sizes) == {16, 4, 1}


def test_a_batch_that_does_not_fit_is_halved_and_the_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    device, batches = Small(room=5), Batches(CPU)
    with caplog.at_level(logging.WARNING):
        found = batches.run(37, device)
    np.testing.assert_array_equal(found[:, 0], np.arange(37))
    assert device.sizes[:3] == [16, 8, 4]
    assert max(device.sizes[2:]) == 4
    assert "no memory for 16 inputs at once: on with 8" in caplog.text
    device.sizes.clear()
    batches.run(8, device)
    assert device.sizes == [4, 4]  # what did not fit once is not tried again


def test_memory_for_not_even_one_is_said() -> None:
    with pytest.raises(DeviceError, match=r"cpu has too little memory for one input: .*--device cpu"):
        Batches(CPU).run(3, Small(room=0))


def test_an_error_of_another_kind_is_not_swallowed() -> None:
    def broken(few: slice) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Batches(CPU).run(3, broken)


def test_what_is_sent_is_a_copy_of_any_array() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2]
    array.flags.writeable = False
    found = sent(array, CPU)
    np.testing.assert_array_equal(found.numpy(), array)
    assert not np.shares_memory(found.numpy(), array)


def test_a_network_is_made_ready_to_answer() -> None:
    module = ready(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout()), CPU, torch.bfloat16)
    assert not module.training
    assert all(not weight.requires_grad and weight.dtype == torch.bfloat16 for weight in module.parameters())
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
