"""A cohort in a process of its own, to be killed: ``python -m Testing.unit.cohort.cohort_process SOURCE OUT ...``."""

import json
import sys
from pathlib import Path

from ClaireDSALib.cohort import recipe
from ClaireDSALib.cohort.analyst import AnalystSpec
from ClaireDSALib.cohort.run import CohortOptions, run_cohort
from ClaireDSALib.pipeline.settings import Settings

QUICK = "Testing.unit.cohort.quick_analyst:make"
CODE = "0" * 64
NO_MODELS = Settings(
    label_bundle="none",
    vessel_bundle="none",
    thrombus_bundle="none",
    quality_bundle="none",
    maps=False,
    perfusion=False,
)


def main() -> None:
    recipe.code_sha256 = lambda: CODE
    source, out, options = sys.argv[1:4]
    given = json.loads(options)
    analyst = AnalystSpec(QUICK, given.pop("analyst", {}))
    result = run_cohort(Path(source), Path(out), NO_MODELS, CohortOptions(analyst=analyst, **given))
    print(json.dumps({"runs": result.runs, "failed": result.failed, "analysed": result.analysed}))


if __name__ == "__main__":
    main()
