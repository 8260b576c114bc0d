"""Options: declared as frozen dataclasses, read from YAML files and the command line."""

from common.config.foreign import Meaning, Only, Refused, Unused, from_table, leaves, read_sections
from common.config.options import (
    COMMAND_LINE,
    Parser,
    Translated,
    configuration,
    differences,
    groups,
    load,
    merge,
    option,
    origin,
    parse,
    parse_inputs,
    read_yaml,
    save,
    spellings,
    to_dict,
    typed,
)
from common.config.shared import (
    ANY_FORMAT,
    DATA_NAME,
    DEVICE_TARGET,
    ENGINES,
    FIGURES_OF_SAMPLES,
    HR_FOLDER,
    LR_FOLDER,
    RESULTS_NAME,
    RESULTS_SEED,
    TEST_SETS,
    EvalOptions,
    ExportOptions,
    InferOptions,
    StepOptions,
    TrainedOptions,
    TrainOptions,
    asked,
    hyper_options,
)
from common.config.values import FALSE, counting_number, did_you_mean, says_default
