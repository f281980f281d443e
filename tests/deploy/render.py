"""Renders deploy/helm/postmeter as a person would install it, lints it and checks every object against Kubernetes'
own schemas. Prints {"chart": {name of the values: [objects]}, "compose": the compose file} as JSON, for the suite; what
is wrong goes to standard error and ends with 1."""

import json
import pathlib
import sys

import helm_python
import kubernetes_validate
import yaml

DEPLOY = pathlib.Path(__file__).parent.parent.parent / "deploy"
CHART = DEPLOY / "helm/postmeter"
VERSIONS = ["1.27", "1.37"]  # the oldest that Chart.yaml allows, the newest known here
# Objects of the Prometheus operator: no schema of Kubernetes' own.
OPERATOR = {"PodMonitor", "PrometheusRule"}

CASES = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example.com/postmeter", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "worker": {
            "env": [{"name": "POSTMETER_AZURE_MAIN_CLIENT_SECRET_FILE", "value": "/run/secrets/azure/secret"}],
            "envFrom": [{"secretRef": {"name": "marketplaces"}}],
            "volumes": [{"name": "azure", "secret": {"secretName": "azure"}}],
            "volumeMounts": [{"name": "azure", "mountPath": "/run/secrets/azure", "readOnly": True}],
            "podAnnotations": {"example.com/team": "billing"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "batch", "operator": "Exists"}],
        },
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/meter"}},
        "autoscaling": {"enabled": True},
        "networkPolicy": {
            "scrapeFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "consoleFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
            "database": {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "port": 5432},
            "workerEgress": [{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": [{"port": 80}]}],
        },
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
    },
    "least": {
        "console": {"enabled": False},
        "migrate": {"enabled": False},
        "serviceAccount": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}

# Values that must be refused, with a word of why.
REFUSED = [
    ({"worker": {"replicas": "two"}}, "replicas"),
    ({"worker": {"replica": 2}}, "replica"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"database": {"url": "postgres://u:secret@h/d"}}, "url"),
]


def objects(chart, values):
    for path, text in sorted(chart.render(values, name="meter", namespace="billing").items()):
        if path.endswith(".txt"):
            continue
        for document in yaml.safe_load_all(text):
            if document is not None:
                yield path, document


def main():
    problems = []
    chart = helm_python.Chart.load(str(CHART))
    rendered = {}
    for name, values in CASES.items():
        for message in helm_python.lint(str(CHART), values, strict=True)["messages"]:
            if message["severity"] >= 2:
                problems.append(f"helm lint, {name}: {message['path']}: {message['error']}")
        rendered[name] = []
        for path, document in objects(chart, values):
            rendered[name].append(document)
            if document["kind"] in OPERATOR:
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except Exception as error:  # whatever it finds is for people
                    problems.append(f"{name}, {path}, {document['kind']}, Kubernetes {version}: {error}")
    for values, word in REFUSED:
        try:
            chart.validate_schema(values)
            problems.append(f"values.schema.json lets {values} pass")
        except helm_python.HelmValuesError as error:
            if word not in str(error):
                problems.append(f"values.schema.json refuses {values} for another reason: {error}")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    json.dump({"chart": rendered, "compose": compose}, sys.stdout)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main())
