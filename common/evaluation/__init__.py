"""Tables of figures, what an evaluation or an inference run writes, the HTML report."""

from common.evaluation.jobs import (
    Job,
    Results,
    do_all,
    find_jobs,
    log_result,
    progress_of,
    result_names,
    upscale_all,
    write_result,
)
from common.evaluation.report import Shown, of_pairs
from common.evaluation.run import EvaluationRun
from common.evaluation.table import (
    Figure,
    Table,
    diversity,
    evaluate,
    lr_psnr_figure,
    psnr_figure,
    sample_path,
    ssim_figure,
    with_lpips,
    write_samples,
)
