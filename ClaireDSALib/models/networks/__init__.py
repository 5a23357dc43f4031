"""Networks of the bundles; the only place (with engines and training) where torch is loaded."""

from ClaireDSALib.models.networks.outputs import NetworkOutputs
from ClaireDSALib.models.networks.resnets import NineResNets
from ClaireDSALib.models.networks.shared_trunk import SharedTrunkClassifier

__all__ = ["NetworkOutputs", "NineResNets", "SharedTrunkClassifier"]
