"""Cluster runner: submit a pipeline to Kubeflow Pipelines, follow it, and enter it again."""
