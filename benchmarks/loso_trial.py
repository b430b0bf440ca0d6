"""One LOSO trial: the bank of folds against one plain PyTorch loop per fold, in one run.

    python benchmarks/loso_trial.py            # everything, some ten minutes on two cores
    python benchmarks/loso_trial.py --quick    # four sizes, about a minute
    python benchmarks/loso_trial.py --channels 512 --lstm 64 128 --batch 16 --regions 1

The rival is what a careful engineer writes without a bank: `nn.LSTM` (with spatial attention a
loop over `nn.LSTMCell`), features standardised once and kept in memory, one model after another,
with AdamW as it comes and with `fused=True`. Each column is the time of one epoch of all folds;
"times" is rival / bank. GFLOP/s counts the matrix products alone (forward twice, for the
gradient of the weights), against this machine's own speed on a large product.
Rounds alternate between the rivals and the least time counts, so a busy machine hurts all alike.
With `--threads 1` the clock is that of this process's CPU time, which neighbours do not lengthen.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mer_search import config
from mer_search.loso.train import Training

CLIPS, FOLDS, KEYFRAMES, CLASSES, ATTENTION = 246, 26, 8, 5, 64  # CASME II, five classes


class Plain(nn.Module):
    """The rival of one fold; with regions it attends as Xu et al. 2015."""

    def __init__(self, channels: int, lstm: int, regions: int) -> None:
        super().__init__()
        self.spatial = regions > 1
        kind = nn.LSTMCell if self.spatial else nn.LSTM
        self.lstm = kind(channels, lstm, **({} if self.spatial else {"batch_first": True}))
        self.key = nn.Linear(channels, ATTENTION, bias=False) if self.spatial else None
        self.query = nn.Linear(lstm, ATTENTION, bias=False) if self.spatial else None
        self.score = nn.Linear(ATTENTION, 1, bias=False) if self.spatial else None
        self.classes = nn.Linear(lstm, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if not self.spatial:
            return self.classes(self.lstm(x[:, :, 0])[0][:, -1])
        keys = self.key(x)
        h = c = x.new_zeros(len(x), self.lstm.hidden_size)
        for t in range(x.shape[1]):
            scores = self.score(torch.tanh(keys[:, t] + self.query(h)[:, None]))
            z = (scores.softmax(1).transpose(1, 2) @ x[:, t])[:, 0]
            h, c = self.lstm(z, (h, c))
        return self.classes(h)


@dataclass
class Case:
    channels: int
    lstm: int
    batch: int
    regions: int

    @property
    def flop(self) -> float:
        """Of the matrix products of one epoch of all folds, forward and weight gradients."""
        rows, gates = CLIPS * KEYFRAMES, 4 * self.lstm
        inputs = rows * self.channels * gates * 2
        states = rows * self.lstm * gates * 3
        keys = rows * self.regions * self.channels * ATTENTION * 2 if self.regions > 1 else 0
        return 2.0 * FOLDS * (inputs + states + keys)


def rival(
    case: Case, x: Tensor, label: Tensor, *, fused: bool
) -> tuple[Callable[[], object], float]:
    """One training step of one fold, and how many of them make an epoch of all folds."""
    model = Plain(case.channels, case.lstm, case.regions)
    optimiser = torch.optim.AdamW(model.parameters(), fused=fused or None)
    own = torch.arange(CLIPS)[torch.arange(CLIPS) % FOLDS != 0]
    std, mean = torch.std_mean(x[own], (0, 1, 2))
    z, label = (x[own] - mean) / std, label[own]

    def step() -> None:
        batch = torch.randint(len(own), (case.batch,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(z[batch]), label[batch]).backward()
        optimiser.step()

    return step, FOLDS * -(-len(own) // case.batch)


def bank(
    case: Case, x: Tensor, label: Tensor, precision: str
) -> tuple[Callable[[], object], float]:
    """One training step of the bank, and how many make an epoch."""
    held_out = (torch.arange(CLIPS) % FOLDS) == torch.arange(FOLDS)[:, None]
    model = config.Model(
        attention="spatial" if case.regions > 1 else "none",
        attention_size=ATTENTION,
        lstm_size=case.lstm,
    )
    train = config.Train(batch_size=case.batch, epochs=10_000, precision=precision)
    training = Training(x, label, held_out, model=model, train=train, classes=CLASSES)
    return training.step, float(-(-CLIPS // case.batch))


def peak_memory(run: Callable[[], object]) -> float:
    """GB that the process held at most while `run` ran (Linux; 0 elsewhere)."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        run()
        return 0.0
    clear.write_text("5")
    run()
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def clock() -> float:
    """Seconds: of CPU where one thread works, which is what a trial gets by default."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def least(runs: list[tuple[Callable[[], object], float]], seconds: float) -> list[float]:
    """Least time of each run's epoch, rounds alternating, about `seconds` for each run."""
    best = [float("inf")] * len(runs)
    for run, _ in runs:
        run()
    spent, rounds = 0.0, 0
    while rounds < 3 or spent < seconds * len(runs):
        for n, (run, times) in enumerate(runs):
            start = clock()
            run()
            took = clock() - start
            best[n] = min(best[n], took * times)
            spent += took
        rounds += 1
    return best


def matmul_speed(dtype: torch.dtype = torch.float32, size: int = 2048) -> float:
    """GFLOP/s of this machine on a square product."""
    a = torch.randn(size, size, dtype=dtype)
    (seconds,) = least([(lambda: a @ a, 1.0)], 1.0)
    return 2e-9 * size**3 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one LSTM size and batch")
    parser.add_argument("--channels", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--lstm", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 49])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring, per column")
    parser.add_argument("--threads", type=int, help="1 is what a trial gets by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.quick:
        options.lstm, options.batch = [128], [32]
    speed = matmul_speed()
    threads = torch.get_num_threads()
    print(f"threads {threads}, fp32 product {speed:.0f} GFLOP/s, torch {torch.__version__}")
    print(f"{CLIPS} clips, {FOLDS} folds, {KEYFRAMES} keyframes; seconds per epoch of all folds")
    print("   D    H   B   R |   bank default   fused | times: default  fused | of peak | bank GB")
    for d, r, h, b in itertools.product(
        options.channels, options.regions, options.lstm, options.batch
    ):
        case = Case(channels=d, lstm=h, batch=b, regions=r)
        x, label = torch.randn(CLIPS, KEYFRAMES, r, d), torch.arange(CLIPS) % CLASSES
        ours = bank(case, x, label, options.precision)
        memory = peak_memory(ours[0])
        runs = [ours, *(rival(case, x, label, fused=fused) for fused in (False, True))]
        mine, default, fused = least(runs, options.seconds)
        share = case.flop / mine / 1e9 / speed
        print(
            f"{d:4d} {h:4d} {b:3d} {r:3d} | {mine:6.2f} {default:7.2f} {fused:7.2f} |"
            f"       {default / mine:8.2f} {fused / mine:6.2f} | {share:6.0%}  | {memory:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
