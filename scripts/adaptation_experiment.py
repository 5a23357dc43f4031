#!/usr/bin/env python
"""Learning curves of domain adaptation on simulated runs: look A labelled, look B with few labels or none.

Look A: the simulated vendor looks "linear" and "north". Look B: the other four, and on top the processing chain of a
second site: dynamic range compression, a darkening tone curve, strong edge enhancement, grain and a round field of
view; its mix of cases differs too. Small pictures and the compact network, so that one training takes seconds.

    claire-dsa train label-set --out SET --patients 340 --seed 5000
    python scripts/adaptation_experiment.py run --data SET --out OUT
    python scripts/adaptation_experiment.py show --out OUT

What an adaptation without labels does to each label, on seeds that nothing was chosen with, each with a source network
of its own:

    python scripts/adaptation_experiment.py run --data SET --out OUT2 --first-seed 5 --seeds 10 --own-source --labels 0
    python scripts/adaptation_experiment.py guard --out OUT2

One line per seed, method and number of labels is appended to OUT/results.jsonl; run again to continue.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ClaireDSALib.models.labels import NINE_LABELS
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.training.samples import LabelledPictures, load_simulated

SIDE, CACHE_SIDE = 48, 55
SPEC = InputSpec(size_px=SIDE, views=("linear",))
LOOK_A = ("linear", "north")
BUDGETS = (0, 10, 30, 100)
N_TEST, N_POOL = 350, 1000
KEPT = {("subtraction", "unsubtracted"): 0.5, ("projection", "lateral"): 0.65, ("region", "extracranial"): 0.7}
"""Share of look B's runs of a class that stay, so that the mix of cases differs between the sites."""
FULL = "full_supervision"
ORDER: tuple[tuple[tuple[str, int], ...], ...] = (
    (
        *(("source_only", 0), (FULL, N_POOL), ("look", 0), ("batch_norm", 0), ("prior", 0)),
        *((m, 30) for m in ("head", "fine_tune", "adversarial", "look")),
    ),
    tuple((m, n) for n in (100, 10) for m in ("head", "fine_tune", "look")),
    tuple(("adversarial", n) for n in (0, 100, 10)),
    (("joint", 30), ("joint", 100), ("joint", 10), ("look_adversarial", 30), ("look_adversarial", 0)),
)
"""The parts of the work, each done for all seeds before the next."""


def second_site(image: npt.NDArray[np.uint16], rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Look B: the picture ``(S, S)`` after the other site's processing, each strength varied by a tenth."""
    vary = lambda: rng.uniform(0.9, 1.1)  # noqa: E731
    side = image.shape[0]
    x = image.astype(np.float32) / 65535
    x = np.clip(x - 0.8 * vary() * (ndimage.gaussian_filter(x, side * 0.094) - 0.5), 0, 1) ** (0.5 * vary())
    x = x + 3.0 * vary() * (x - ndimage.gaussian_filter(x, side * 0.047 * vary()))
    grain = ndimage.gaussian_filter(rng.standard_normal(x.shape), 0.6)
    x = x + 0.08 * vary() * grain / grain.std()
    low, high = np.percentile(x, (0.5, 99.5))
    x = np.clip((x - low) / max(high - low, 1e-3), 0, 1)
    radius = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2)) / (side / 2)
    return np.round(65535 * np.where(radius < 0.97, x, 0)).astype(np.uint16)


def two_sites(data: Path, out: Path) -> tuple[LabelledPictures, LabelledPictures]:
    """Pictures of look A and of look B, small, from different patients; kept in ``out``."""
    pictures = _cached(data, out)
    at_a = np.isin(pictures.groups, LOOK_A)
    first, second = pictures.subset(np.flatnonzero(at_a)), pictures.subset(np.flatnonzero(~at_a))
    rng = np.random.default_rng(11)
    keep = np.ones(len(second))
    for (name, cls), share in KEPT.items():
        position = second.labels.names.index(name)
        keep[second.targets[:, position] == second.labels[name].classes.index(cls)] *= share
    second = second.subset(np.flatnonzero(rng.random(len(second)) < keep))
    return first, replace(second, images=np.stack([second_site(x, rng) for x in second.images]))


def _cached(data: Path, out: Path) -> LabelledPictures:
    file = out / "pictures.npz"
    if not file.is_file():
        made = load_simulated(data, NINE_LABELS, size_px=CACHE_SIDE)
        columns = {k: getattr(made, k) for k in ("images", "targets", "patients", "groups")}
        np.savez_compressed(file, names=np.array(made.names), **columns)
    with np.load(file) as d:
        kept = np.ptp(d["images"].reshape(len(d["images"]), -1), axis=1) > 0
        columns = {k: d[k][kept] for k in ("images", "targets", "patients", "groups")}
        return LabelledPictures(labels=NINE_LABELS, names=tuple(d["names"][kept].tolist()), **columns)


class Seed:
    """One repetition: its split of look B, labelled runs and training seed.

    The source bundle is one for all, or with ``own_source`` trained anew on another split of look A.
    """

    def __init__(
        self, number: int, a: LabelledPictures, b: LabelledPictures, out: Path, *, own_source: bool = False
    ) -> None:
        from ClaireDSALib.training.adaptation.look import measure_look, restyled
        from ClaireDSALib.training.adaptation.prepared import prepare_pictures
        from ClaireDSALib.training.splits import split_patients

        self.number, self.source_seed = number, number if own_source else 0
        self.source_file = out / (f"source_{number}.safetensors" if own_source else "source.safetensors")
        train, validation = split_patients(a.patients, (0.85, 0.15), self.source_seed)
        rest, test = split_patients(b.patients, (1 - N_TEST / len(b), N_TEST / len(b)), number + 100)
        pool = b.subset(np.random.default_rng(number).permutation(rest)[:N_POOL])
        self.pool, self.test = prepare_pictures(pool, SPEC), prepare_pictures(b.subset(test), SPEC)
        self.source, self.validation = (prepare_pictures(a.subset(i), SPEC) for i in (train, validation))
        look_a, look_b = measure_look(a.images[train]), measure_look(pool.images)
        styled = [prepare_pictures(restyled(a.subset(i), look_a, look_b), SPEC) for i in (train, validation)]
        self.styled, self.styled_validation = styled
        self.network = self._source_network()

    def domains(self, n: int) -> Any:
        """Data with the first ``n`` of the pool labelled, and the labels of all others hidden."""
        from ClaireDSALib.training.adaptation.domains import Domains, split_labelled

        unlabelled = replace(self.pool, targets=np.full_like(self.pool.targets, -1))
        labelled, kept_back = split_labelled(self.pool.subset(np.arange(n)), 0.25, self.number)
        return Domains(self.source, self.validation, labelled, kept_back, unlabelled, NINE_LABELS)

    def record(self, method: str, n: int) -> dict[str, Any]:
        """Train one method and measure it on look B's test runs."""
        from ClaireDSALib.training.adaptation.adapt import settle
        from ClaireDSALib.training.adaptation.measures import balanced_accuracies, mean_of
        from ClaireDSALib.training.adaptation.methods import Task, run_method
        from ClaireDSALib.training.adaptation.settings import AdaptSettings

        begin = time.process_time()
        domains = self.domains(len(self.pool) if method == FULL else n)
        if method == FULL:
            domains = replace(domains, labelled=self.pool, target_validation=self.pool.subset(np.zeros(0, int)))
        settings = AdaptSettings(epochs=3, batch_size=16, learning_rate=2e-3, seed=self.number, max_minutes=600)
        if method == FULL:
            settings = replace(settings, epochs=12, labelled_batch=32)
        name = "fine_tune" if method == FULL else method
        network = run_method(name, Task(self.network, domains, settings, self.styled))
        figures = balanced_accuracies(network, self.test, NINE_LABELS)
        row = {"seed": self.number, "method": method, "n": n, "mean": mean_of(figures), "labels": figures}
        row["cpu_s"] = round(time.process_time() - begin, 1)
        if method not in (FULL, "source_only"):
            settled = settle(self.network, network, domains, self.styled_validation)
            row["guard"] = settled.verdict.to_dict() | {
                "accepted": settled.accepted, "reasons": settled.reasons, "kept": settled.kept,
            }  # fmt: skip
            shipped = settled.network if settled.accepted else self.network
            row["shipped"] = balanced_accuracies(shipped, self.test, NINE_LABELS)
        return row

    def _source_network(self) -> Any:
        """The bundle's network: trained from nothing on look A, once."""
        import torch

        from ClaireDSALib.models.networks import SharedTrunkClassifier
        from ClaireDSALib.models.weights import load_weights
        from ClaireDSALib.training.adaptation.domains import Domains
        from ClaireDSALib.training.adaptation.loop import Terms, train_domains
        from ClaireDSALib.training.adaptation.settings import AdaptSettings
        from ClaireDSALib.training.adaptation.statistics import logits_of, with_statistics_of
        from ClaireDSALib.training.calibration import fit_temperatures

        file = self.source_file
        torch.manual_seed(self.source_seed)
        network = SharedTrunkClassifier([len(x.classes) for x in NINE_LABELS.labels], trunk="compact")
        if not file.is_file():
            nothing = self.pool.subset(np.zeros(0, int))
            domains = Domains(self.source, self.validation, nothing, nothing, self.pool, NINE_LABELS)
            settings = AdaptSettings(
                epochs=24, batch_size=32, learning_rate=5e-3, max_minutes=600, balance_target=False,
                seed=self.source_seed,
            )  # fmt: skip
            trained = train_domains(network, domains, settings, Terms(domain=False)).finished(0.0)
            trained = with_statistics_of(trained, self.source)
            logits = logits_of(trained, self.validation)
            with torch.no_grad():
                found = fit_temperatures(logits, self.validation.targets, NINE_LABELS)
                trained.temperature.copy_(torch.tensor(found))  # type: ignore[operator, union-attr]
            from safetensors.torch import save_file

            save_file(trained.state_dict(), file)
        return load_weights(network, file)


def run(
    data: Path, out: Path, seeds: list[int], methods: list[str], budgets: list[int], *, own_source: bool = False
) -> None:
    """Do what is missing in ``out/results.jsonl``."""
    import torch

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    results = out / "results.jsonl"
    done = {(r["seed"], r["method"], r["n"]) for r in rows_of(out)}
    a, b = two_sites(data, out)
    print(f"look A: {len(a)} runs, look B: {len(b)} runs", flush=True)
    ready: dict[int, Seed] = {}
    for part in ORDER:
        for number, (method, n) in itertools.product(seeds, part):
            if (number, method, n) in done or (methods and method not in methods) or n not in budgets:
                continue
            if number not in ready:
                ready[number] = Seed(number, a, b, out, own_source=own_source)
            seed = ready[number]
            row = seed.record(method, n)
            if method == "source_only":
                from ClaireDSALib.training.adaptation.measures import balanced_accuracies

                row["at_a"] = balanced_accuracies(seed.network, seed.validation, NINE_LABELS)
            with results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            verdict = f" guard {row['guard']['accepted']} {row['guard']['reasons']}" if "guard" in row else ""
            print(f"seed {number} {method} {n}: {row['mean']:.3f} ({row['cpu_s']} s){verdict}", flush=True)


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Results so far."""
    file = out / "results.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines if line.strip()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "show", "guard"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", default="")
    parser.add_argument("--labels", default=",".join(str(n) for n in (*BUDGETS, N_POOL)), help="numbers of labels")
    parser.add_argument("--own-source", action="store_true", help="a source network per seed")
    given = parser.parse_args()
    if given.what == "run":
        seeds = list(range(given.first_seed, given.first_seed + given.seeds))
        methods, budgets = ([x for x in text.split(",") if x] for text in (given.methods, given.labels))
        run(given.data, given.out, seeds, methods, [int(n) for n in budgets], own_source=given.own_source)
        return
    from adaptation_figures import guard_table, show

    if given.what == "guard":
        print("\n".join(guard_table(rows_of(given.out))))
        return
    show(given.out, rows_of(given.out))


if __name__ == "__main__":
    main()
