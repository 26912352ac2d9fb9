"""What is known of the loaders that feed training: how many samples they hold, and how they are given them."""

from __future__ import annotations

import pytest

from bnlint.facts import UNKNOWN
from bnlint.source.engine import analyse

PROGRAM = """
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, random_split


class Counted(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return 2 * self.count


class Listed(Dataset):
    def __init__(self):
        self.rows = [torch.zeros(8) for _ in range(50)]

    def __len__(self):
        return len(self.rows)


def main(rows, sampler):
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.train()
    for inputs, labels in {loader}:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()


main(object(), object())
"""


def feed(tmp_path, loader):
    path = tmp_path / "train.py"
    path.write_text(PROGRAM.replace("{loader}", loader))
    analysis = analyse([path])
    assert not analysis.faults
    (found,) = analysis.facts.feeds
    return found


@pytest.mark.parametrize(
    ("data", "length"),
    [
        ("TensorDataset(torch.randn(65, 8))", 65),
        ("TensorDataset(torch.randn((65, 8)))", 65),
        ("TensorDataset(torch.randint(0, 2, (65, 8)))", 65),
        ("TensorDataset(torch.arange(3, 68))", 65),
        ("TensorDataset(torch.tensor([1.0, 2.0, 3.0]))", 3),
        ("TensorDataset(torch.tensor(5))", UNKNOWN),
        ("TensorDataset(torch.randn(len(rows), 8))", UNKNOWN),
        ("Subset(rows, range(10, 75))", 65),
        ("Subset(rows, [1, 2, 3])", UNKNOWN),
        ("random_split(rows, [65, 10])[0]", 65),
        ("random_split(rows, [0.9, 0.1])[0]", UNKNOWN),
        ("torchvision.datasets.MNIST('.', train=True)", 60_000),
        ("torchvision.datasets.CIFAR10('.')", 50_000),
        ("torchvision.datasets.MNIST('.', train=False)", UNKNOWN),
        ("Counted(33)", 66),
        ("Listed()", UNKNOWN),
        ("[torch.zeros(8) for _ in range(50)]", UNKNOWN),
        ("rows", UNKNOWN),
    ],
)
def test_counts_what_is_written_down(tmp_path, data, length):
    assert feed(tmp_path, f"DataLoader({data}, batch_size=16)").length == length


def test_does_not_count_what_a_sampler_chooses(tmp_path):
    assert feed(tmp_path, "DataLoader(Counted(33), batch_size=16, sampler=sampler)").length is UNKNOWN


@pytest.mark.parametrize(
    ("arguments", "shuffled"),
    [
        ("shuffle=True", "yes"),
        ("shuffle=False", "no"),
        ("num_workers=2", "no"),
        ("sampler=torch.utils.data.RandomSampler(rows)", "yes"),
        ("sampler=torch.utils.data.SequentialSampler(rows)", "unknown"),
        ("sampler=sampler", "unknown"),
    ],
)
def test_knows_whether_samples_are_shuffled(tmp_path, arguments, shuffled):
    assert feed(tmp_path, f"DataLoader(rows, batch_size=16, {arguments})").shuffled == shuffled
