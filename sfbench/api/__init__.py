"""All that a plugin may import. Importing this package imports neither torch nor pandas."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfbench.api.errors import (
        ContractError,
        DataError,
        PluginError,
        SfbenchError,
        UnsupportedError,
        UsageError,
        WeightsError,
    )
    from sfbench.api.graph_generator import GraphGenerator
    from sfbench.api.graph_inputs import GraphInput
    from sfbench.api.hooks import Hooks, hookimpl
    from sfbench.api.images import ImageCollection
    from sfbench.api.inspecting import (
        AttentionLayer,
        AttentionMaps,
        Attentive,
        LatentAttentive,
        StyleBased,
    )
    from sfbench.api.labels import Conditional, Labels
    from sfbench.api.latents import Latents, LatentSource
    from sfbench.api.learning import Learner, Losses, Means, Phase, Shard
    from sfbench.api.module_generator import ModuleGenerator
    from sfbench.api.module_learner import ModuleLearner
    from sfbench.api.output_form import OutputForm
    from sfbench.api.protocols import (
        Dataset,
        FeatureExtractor,
        Features,
        ForeignRuntime,
        ImageGenerator,
        ModelSize,
        Picture,
        Stage,
        Staged,
    )
    from sfbench.api.settings import options_of
    from sfbench.api.spec import (
        BuildRequest,
        CheckpointCard,
        ExtractorRequest,
        ExtractorSpec,
        GeneratorSpec,
        LearnRequest,
        Option,
        OptionValue,
        TrainingPreset,
        WeightsFile,
    )
    from sfbench.api.style_generator import StyleModuleGenerator
    from sfbench.api.tensors import read_tensors

HOMES = {
    "ContractError": "errors",
    "DataError": "errors",
    "PluginError": "errors",
    "SfbenchError": "errors",
    "UnsupportedError": "errors",
    "UsageError": "errors",
    "WeightsError": "errors",
    "Hooks": "hooks",
    "hookimpl": "hooks",
    "AttentionLayer": "inspecting",
    "AttentionMaps": "inspecting",
    "Attentive": "inspecting",
    "LatentAttentive": "inspecting",
    "ImageCollection": "images",
    "GraphGenerator": "graph_generator",
    "GraphInput": "graph_inputs",
    "Conditional": "labels",
    "Labels": "labels",
    "LatentSource": "latents",
    "Latents": "latents",
    "OutputForm": "output_form",
    "ForeignRuntime": "protocols",
    "ModelSize": "protocols",
    "Stage": "protocols",
    "Staged": "protocols",
    "ModuleGenerator": "module_generator",
    "ModuleLearner": "module_learner",
    "options_of": "settings",
    "Dataset": "protocols",
    "FeatureExtractor": "protocols",
    "Features": "protocols",
    "ImageGenerator": "protocols",
    "Learner": "learning",
    "Losses": "learning",
    "Means": "learning",
    "Phase": "learning",
    "Shard": "learning",
    "Picture": "protocols",
    "BuildRequest": "spec",
    "CheckpointCard": "spec",
    "ExtractorRequest": "spec",
    "ExtractorSpec": "spec",
    "GeneratorSpec": "spec",
    "LearnRequest": "spec",
    "Option": "spec",
    "TrainingPreset": "spec",
    "OptionValue": "spec",
    "WeightsFile": "spec",
    "StyleBased": "inspecting",
    "StyleModuleGenerator": "style_generator",
    "read_tensors": "tensors",
}

__all__ = [
    "AttentionLayer",
    "AttentionMaps",
    "Attentive",
    "BuildRequest",
    "CheckpointCard",
    "Conditional",
    "ContractError",
    "DataError",
    "Dataset",
    "ExtractorRequest",
    "ExtractorSpec",
    "FeatureExtractor",
    "Features",
    "ForeignRuntime",
    "GeneratorSpec",
    "GraphGenerator",
    "GraphInput",
    "Hooks",
    "ImageCollection",
    "ImageGenerator",
    "Labels",
    "LatentAttentive",
    "LatentSource",
    "Latents",
    "LearnRequest",
    "Learner",
    "Losses",
    "Means",
    "ModelSize",
    "ModuleGenerator",
    "ModuleLearner",
    "Option",
    "OptionValue",
    "OutputForm",
    "Phase",
    "Picture",
    "PluginError",
    "SfbenchError",
    "Shard",
    "Stage",
    "Staged",
    "StyleBased",
    "StyleModuleGenerator",
    "TrainingPreset",
    "UnsupportedError",
    "UsageError",
    "WeightsError",
    "WeightsFile",
    "hookimpl",
    "options_of",
    "read_tensors",
]


def __getattr__(name: str) -> Any:
    """Return a public name, importing its module on first use (pluggy alone costs 50 ms)."""
    if name not in HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value
    return value
