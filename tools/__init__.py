"""Build what a release needs and no user calls: images, manifests, policies, advisories, demo, docs."""
