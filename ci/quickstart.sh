#!/usr/bin/env bash
# From a fresh clone to upscaled images: makes .venv, trains a small WDSR x2 on the sample, evaluates it beside bicubic,
# exports it, upscales an image. About two minutes on two CPU cores, besides the download. Run again, nothing is installed.
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
if (($# > 0)); then
    echo "usage: bash ci/quickstart.sh    (no options; PYTHON=... names the interpreter that .venv is made from)"
    exit 1
fi
# shellcheck source=ci/environment.sh
. "$(dirname "$(readlink -f "$0")")/environment.sh"

environment_ready ui,onnx
cd "$ROOT"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

step() { printf '\n=== %s\n' "$*"; }

step "1/5 train on the eight training images of ci/sample (settings: ci/quickstart.yaml)"
"$PYTHON" WDSR/train.py --config ci/quickstart.yaml
folders=(runs/quickstart/wdsr_x2-*/)
run=${folders[-1]%/}
checkpoint=$run/ckpt/best.ckpt

step "2/5 evaluate beside bicubic on four images that it has not seen"
"$PYTHON" WDSR/eval.py --dir_data ci/sample --data_range 1-8/9-12 --ckpt_path "$checkpoint" --output "$run/eval"

step "3/5 export"
"$PYTHON" WDSR/export.py --ckpt_file "$checkpoint" --file_name "$run/wdsr_x2" --file_format MINDIR
"$PYTHON" WDSR/export.py --ckpt_file "$checkpoint" --file_name "$run/wdsr_x2" --file_format ONNX

step "4/5 upscale an image"
"$PYTHON" WDSR/infer.py --input ci/sample/DIV2K/DIV2K_train_HR/0009.png --ckpt_path "$checkpoint" --output "$run/upscaled"

step "5/5 is SR above bicubic on every image?"
"$PYTHON" - "$run/eval/DIV2K.csv" <<'PYTHON'
import csv, sys

rows = list(csv.DictReader(open(sys.argv[1], encoding="utf-8")))
before, after = [column for column in rows[0] if column.startswith("PSNR-Y")]
worse = [row["image"] for row in rows if float(row[after]) <= float(row[before])]
for row in rows:
    print(f"{row['image']}: {before} {float(row[before]):.2f} dB, SR {float(row[after]):.2f} dB")
sys.exit(f"error: SR is not above bicubic on {', '.join(worse)}" if worse else 0)
PYTHON

cat <<TEXT

Done. Everything is in $run:
  curve.png              loss and PSNR while training
  eval/DIV2K.md, .csv    the table above
  eval/DIV2K/strips/     LR | bicubic | SR | HR of each image
  wdsr_x2.mindir, .onnx  exported, loaded again and compared
  upscaled/              the upscaled image
  ckpt/                  best.ckpt, last.ckpt (--resume $run)

Next, with your own images and with DIV2K (DATA holds DIV2K/DIV2K_train_HR ...):
  source .venv/bin/activate
  python WDSR/infer.py --input YOUR_IMAGES --output results     # better weights come with the repository
  bash WDSR/script/run_ascend_standalone.sh DATA                  # or run_gpu_standalone.sh; CPU where there is neither
TEXT
