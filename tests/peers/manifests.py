"""Validate Kubernetes manifests against the schemas of the API, and tell what their containers run.

usage: manifests.py FOLDER

Objects of the API itself are validated strictly; patches as the Deployment that they make; pods of others'
kinds as pods. Prints a JSON object for each container of flowers: its file, arguments, environment, ports, and
the paths that are asked of it.
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml

# The oldest release whose preStop may sleep without a feature gate.
VERSION = "1.30"
OTHERS = ["ServiceMonitor", "PyTorchJob"]


def patched(base, patch):
    """A strategic merge: lists of named things are merged by name, all else is replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        both = {key: patched(base[key], value) for key, value in patch.items() if key in base}
        return {**base, **patch, **both}
    named = lambda value: isinstance(value, list) and all(isinstance(x, dict) and "name" in x for x in value)
    if named(base) and named(patch):
        merged = {x["name"]: x for x in base}
        for x in patch:
            merged[x["name"]] = patched(merged.get(x["name"], {}), x)
        return list(merged.values())
    return patch


def pods(value):
    """Every pod template below a value."""
    if isinstance(value, dict):
        if "containers" in value.get("spec", {}):
            yield value
        for child in value.values():
            yield from pods(child)


def main(folder):
    files = {path.name: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))}
    kustomization = files.pop("kustomization.yaml")
    unknown = set(kustomization["resources"]) - set(files)
    assert not unknown, f"kustomization.yaml names {unknown}"
    base = files["deployment.yaml"]
    for name, document in files.items():
        if name.startswith("model-"):
            document = patched(base, document)
        templates = list(pods(document))
        if document["kind"] not in OTHERS:
            kubernetes_validate.validate(document, VERSION, strict=True)
        for template in templates:
            metadata = {"name": "pod"}
            pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata, "template": template}
            kubernetes_validate.validate(pod, VERSION, strict=True)
            for container in template["spec"]["containers"]:
                probes = [container.get(f"{kind}Probe") for kind in ["startup", "readiness", "liveness"]]
                told = {
                    "file": name,
                    "arguments": container["args"],
                    "environment": {entry["name"]: entry["value"] for entry in container["env"]},
                    "ports": [port["containerPort"] for port in container.get("ports", [])],
                    "paths": [probe["httpGet"]["path"] for probe in probes if probe],
                }
                print(json.dumps(told))


main(pathlib.Path(sys.argv[1]))
