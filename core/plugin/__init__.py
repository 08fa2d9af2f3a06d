"""What a plugin author meets: values, stages, kinds, records, hooks, registry, options."""
