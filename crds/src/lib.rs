//! Wire types of the argoproj.io/v1alpha1 kinds: fields, defaults, validation, hashes.
