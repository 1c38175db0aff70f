//! Traffic routers: what each route object must say for a wanted split.
