#!/usr/bin/env bash
# Sampling, training and three iterations of DNO on one CUDA GPU, within eight minutes.
#
#   bash benchmarks/gpu.sh MODEL_FOLDER [OUT]
#
# With transformers alone, and by vLLM too where this Python has it. PYTHON names another Python; DEVICE=cpu tries
# the script itself where there is no GPU. All that it prints is also in OUT/gpu.log. A part that fails or takes too
# long is named, the others go on, and the script ends with 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
model=$(realpath "${1:?usage: bash benchmarks/gpu.sh MODEL_FOLDER [OUT]}")
out=${2:-runs/gpu}
python=${PYTHON:-python}
device=${DEVICE:-cuda}
export HF_HUB_OFFLINE=1
mkdir -p "$out"
exec > >(tee "$out/gpu.log") 2>&1
failed=0

part() { # SECONDS COMMAND…
    local limit=$1 started=$SECONDS
    shift
    echo "== $*"
    if timeout "$limit" "$@"; then
        echo "== took $((SECONDS - started)) s"
    else
        echo "== FAILED after $((SECONDS - started)) s (limit $limit s)"
        failed=1
    fi
}

engines=(transformers)
if "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("vllm") is None)'; then
    engines+=(vllm)
else
    echo "vllm is not installed here: transformers alone"
fi
for engine in "${engines[@]}"; do
    part 60 "$python" benchmarks/gpu.py sample "$model" --engine "$engine" --device "$device"
done
part 60 "$python" benchmarks/gpu.py train "$model" --device "$device"
for engine in "${engines[@]}"; do
    part 140 "$python" -m harness.cli run --method dno --iters 3 --preset quickstart --model "$model" \
        --out "$out/dno-$engine" --set device="$device" --set sampling.engine="$engine" --set sampling.batch_size=256
done
exit $failed
