"""The worked example of a beginner's text: four samples of three features, normalised by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.demonstration import Demonstration, Picture, Row, Series, Subject
from bnlint.reference.steps import mini_batch_mean, mini_batch_variance, unbiased

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

BATCH = [[100, 0.001, 50], [200, 0.002, 75], [50, 0.003, 25], [150, 0.004, 60]]
"""Four samples (rows) of three features, in units of their own."""
PRINTED = 420.0
"""The variance of feature 3 that some texts print."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """Mean, biased variance, what comes out, and where eps decides."""
    torch = lab.torch
    x = torch.tensor(BATCH)
    mean = mini_batch_mean(x)
    variance = mini_batch_variance(x, mean)
    other = unbiased(variance, len(BATCH))
    y = lab.BatchNorm1d(3)(x).detach()
    deviation = y.std(dim=0, unbiased=False)
    by_hand = torch.tensor([3125, 1.25e-6, 331.25])
    return Demonstration(
        setting=(
            "A batch of four samples of three features, [[100, 0.001, 50], [200, 0.002, 75], "
            "[50, 0.003, 25], [150, 0.004, 60]], goes through BatchNorm1d(3) with eps 1e-5 in train mode. "
            "BatchNorm normalises by the biased variance, which divides by the number of samples; "
            "`x.var(dim=0)` divides by one less, unless it is told `unbiased=False`."
        ),
        columns=("often expected", "BatchNorm"),
        rows=(
            *(Row(f"mean of feature {i + 1}", "", f"{mean[i]:.6g}") for i in range(3)),
            Row("variance of feature 1", f"{other[0]:.6g}", f"{variance[0]:.6g}"),
            Row("variance of feature 2", f"{other[1]:.6g}", f"{variance[1]:.6g}"),
            Row("variance of feature 3", f"{other[2]:.6g}, or {PRINTED:g}", f"{variance[2]:.6g}"),
            *(Row(f"deviation of feature {i + 1}, normalised", "1", f"{deviation[i]:.3f}") for i in range(3)),
        ),
        claim=(
            f"The variance of feature 3 is {variance[2]:.2f}, so texts that print {PRINTED:g} are wrong; "
            f"and the standard deviation of feature 2 is {deviation[1]:.3f} after normalising, not 1: its "
            f"variance of {variance[1]:.3g} is smaller than eps, 1e-5."
        ),
        holds=(
            torch.allclose(variance, by_hand, rtol=1e-12)
            and torch.allclose(mean, torch.tensor([125, 0.0025, 52.5]), rtol=1e-12)
            and torch.allclose(other, x.var(dim=0), rtol=1e-12)
            and abs(float(deviation[1]) - 1 / 3) < 1e-3
        ),
        picture=Picture(
            kind="bars",
            title="Standard deviation of each feature after BatchNorm",
            x="feature",
            y="standard deviation",
            series=(
                Series("wrong", [1.0, 1.0, 1.0], name="often expected"),
                Series("right", deviation.tolist(), name="BatchNorm"),
            ),
            categories=("1", "2", "3"),
        ),
    )


SUBJECTS = (Subject("", "basics", "What BatchNorm computes, by hand.", demonstrate),)
"""What `bnlint demo basics` shows."""
