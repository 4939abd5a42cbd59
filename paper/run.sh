#!/bin/sh
# One run below runs/: begun, gone on with where it stopped, or done already. Its output goes to runs/NAME.log.
#
#     sh paper/run.sh NAME ARGUMENTS…     as `python -m training validate` takes them
set -e
PYTHON=${PYTHON:-.venv/bin/python}
name=$1
shift
mkdir -p "runs/$(dirname "$name")"
if [ -e "runs/$name/config.json" ]; then
    "$PYTHON" -m training resume "runs/$name" >> "runs/$name.log" 2>&1
else
    "$PYTHON" -m training validate --out "runs/$name" "$@" >> "runs/$name.log" 2>&1
fi
echo "$name: done"
