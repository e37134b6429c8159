"""Tools that a release needs and no user calls: images, manifests, policies, advisories, the demo and the docs."""
