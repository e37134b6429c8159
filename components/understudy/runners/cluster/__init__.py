"""Submit pipelines to Kubeflow Pipelines, follow them, and enter them again."""
