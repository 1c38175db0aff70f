//! `version` (CLI-38).

use crate::output;

/// `v<version>`, with the commit where the build knew it.
#[must_use]
pub fn version() -> String {
    match option_env!("SLUICE_COMMIT") {
        Some(commit) => format!("v{}+{commit}", env!("CARGO_PKG_VERSION")),
        None => format!("v{}+unknown", env!("CARGO_PKG_VERSION")),
    }
}

/// Prints it.
pub fn run(short: bool) {
    output::line(format_args!("kubectl-argo-rollouts: {}", version()));
    if !short {
        let known = |value: Option<&'static str>| value.unwrap_or("unknown");
        output::line(format_args!(
            "  BuildDate: {}",
            known(option_env!("SLUICE_BUILD_DATE"))
        ));
        output::line(format_args!(
            "  GitCommit: {}",
            known(option_env!("SLUICE_COMMIT"))
        ));
        output::line(format_args!("  Compiler: rustc"));
        output::line(format_args!(
            "  Platform: {}/{}",
            std::env::consts::OS,
            std::env::consts::ARCH
        ));
    }
}
