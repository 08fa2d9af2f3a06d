"""The interface for plugin authors: values, stages, kinds, records, hooks, registry, options."""
