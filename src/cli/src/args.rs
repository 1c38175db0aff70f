//! Verbs and flags, as users of the peer's plugin know them (CLI-2, CLI-4).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Manage rollouts: watch them, promote, abort, retry, undo.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl argo rollouts",
    bin_name = "kubectl argo rollouts",
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  kubectl argo rollouts get rollout guestbook --watch\n  kubectl argo rollouts set image guestbook web=nginx:1.28-alpine\n  kubectl argo rollouts promote guestbook\n  kubectl argo rollouts demo"
)]
pub struct Cli {
    /// Which cluster, and as whom.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Global {
    /// User to impersonate
    #[arg(long = "as", global = true, hide = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to impersonate; can be given several times
    #[arg(long, global = true, hide = true, value_name = "GROUP")]
    pub as_group: Vec<String>,
    /// UID to impersonate
    #[arg(long, global = true, hide = true, value_name = "UID")]
    pub as_uid: Option<String>,
    /// Accepted for compatibility; nothing is cached on disk
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Certificate file of the cluster's authority
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Client certificate file
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// Client key file
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Ask for uncompressed answers
    #[arg(long, global = true, hide = true)]
    pub disable_compression: bool,
    /// Do not verify the server's certificate
    #[arg(long, global = true, hide = true)]
    pub insecure_skip_tls_verify: bool,
    /// Path of the kubeconfig
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace; by default that of the context
    #[arg(long, short = 'n', global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Longest time for one request, such as 10s; 0 is without end
    #[arg(long, global = true, default_value = "0", value_name = "TIME")]
    pub request_timeout: String,
    /// Address of the API server
    #[arg(long, short = 's', global = true, hide = true, value_name = "URL")]
    pub server: Option<String>,
    /// Name to verify the server's certificate with
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Bearer token
    #[arg(long, global = true, hide = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Log level: debug, info, warn, error
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    pub loglevel: String,
    /// Log level of the Kubernetes client
    #[arg(
        long,
        short = 'v',
        global = true,
        default_value = "0",
        hide = true,
        value_name = "N"
    )]
    pub kloglevel: String,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Abort an update: all traffic and pods go back to the stable version
    #[command(after_help = "Example:\n  kubectl argo rollouts abort guestbook")]
    Abort(Names),
    /// Print a shell completion script
    Completion(Completion),
    /// Play a rollout on a cluster inside this process: no Kubernetes needed
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts demo\n  kubectl argo rollouts demo rollback --speed 4\n  kubectl argo rollouts demo bluegreen --until-done"
    )]
    Demo(Demo),
    /// Say in plain words what a rollout waits for, and what moves it
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts explain guestbook\n  kubectl argo rollouts explain guestbook -n shop -o json\n\nReads only. The exit code is 0 when there is an explanation, 1 when there is no such\nrollout or the cluster cannot be read."
    )]
    Explain(Explain),
    /// Show one rollout or experiment as a tree
    #[command(subcommand, arg_required_else_help = true)]
    Get(Get),
    /// Validate manifests without a cluster
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts lint -f rollout.yaml\n  kubectl argo rollouts lint -f k8s/ -f extra.yaml\n  helm template . | kubectl argo rollouts lint -f -\n\nRollouts are checked with the controller's own rules, together with what the same files hold:\nServices, routes, analysis templates, workloads, autoscalers, disruption budgets. Objects that are\nnot in them are not missed. Problems go to stdout, warnings to stderr.\n\nThe exit code is 0 when there is no problem (warnings alone do not count), else 1."
    )]
    Lint(Lint),
    /// List rollouts or experiments
    #[command(subcommand, arg_required_else_help = true)]
    List(List),
    /// Hold a rollout where it is
    #[command(after_help = "Example:\n  kubectl argo rollouts pause guestbook")]
    Pause(Names),
    /// Let a paused rollout go on, or skip what is left with --full
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts promote guestbook\n  kubectl argo rollouts promote guestbook --full"
    )]
    Promote(Promote),
    /// Restart the pods of a rollout, a few at a time
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts restart guestbook\n  kubectl argo rollouts restart guestbook --in 10m"
    )]
    Restart(Restart),
    /// Start an aborted update, or a finished experiment, anew
    #[command(subcommand, arg_required_else_help = true)]
    Retry(Retry),
    /// Change a field of a rollout
    #[command(subcommand, arg_required_else_help = true)]
    Set(Set),
    /// Play an update of your own manifests on a simulated cluster, hours in a moment
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts simulate -f rollout.yaml -f services.yaml\n  kubectl argo rollouts simulate -f k8s/ --image web=web:v2 --fault bad-image\n  helm template . | kubectl argo rollouts simulate -f - --image web=web:v2 --image proxy=envoy:v3\n  kubectl argo rollouts simulate -f all.yaml --metric 'error_rate = if(weight > 40, 0.08, 0.01)'\n\nFaults, from the update on:\n  bad-image         the new image cannot be pulled\n  crash-after=TIME  new pods end with an error after that time, again and again\n  slow-start=TIME   new pods take that long to be ready\n  prometheus-down   Prometheus answers 503\n  api-errors=SHARE  that share of the controller's requests fails, such as 0.2\n  pod-kill=TIME     every TIME a ready pod dies\n\nA formula may use weight (percent of the requests that the new version gets) and time\n(seconds since the update). It answers queries that name it, and the\nmetric of that name. Metrics without a formula are assumed to succeed.\n\nThe exit code is 0 when the update was promoted, 2 when it was aborted or got stuck,\n3 when it still waits at the end, 1 when the input is not right.\n\nWith -o json one object is printed, whose members stay as they are: rollout, namespace,\nimages[] {container, from, to} and the first of them as container, from, to; notes[];\ntimeline[] {at, kind, text, times?, until?}, at and until in seconds since the update;\noutcome (promoted, aborted, degraded, waiting), exitCode, verdict, seconds; requests\n{target, perSecond, sent, withoutReadyPod, worstShare, worstAt?} where it is known where\nrequests go; waits[] {reason, object, message}."
    )]
    Simulate(Simulate),
    /// Print the state of a rollout and wait until it is healthy or degraded
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts status guestbook\n  kubectl argo rollouts status guestbook --timeout 60s\n\nThe exit code is 0 when healthy, 1 when degraded or after the timeout."
    )]
    Status(Status),
    /// End a running analysis run or experiment
    #[command(subcommand, arg_required_else_help = true)]
    Terminate(Terminate),
    /// Go back to an earlier revision
    #[command(
        after_help = "Examples:\n  kubectl argo rollouts undo guestbook\n  kubectl argo rollouts undo guestbook --to-revision 3"
    )]
    Undo(Undo),
    /// Print the version
    Version(Version),
}

/// One or more names; the first failure ends the verb.
#[derive(Debug, Args)]
pub struct Names {
    /// Names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// `completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// bash, zsh, fish or powershell
    pub shell: String,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// The story to play
    #[arg(value_enum, default_value = "canary")]
    pub story: Story,
    /// End by itself when the story has ended; the exit code says whether it ended as it should
    #[arg(long)]
    pub until_done: bool,
    /// How much faster than real time
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub speed: f64,
    /// Do not use colours
    #[arg(long)]
    pub no_color: bool,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one object, whose members stay as they are
    Json,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Name
    #[arg(value_name = "ROLLOUT")]
    pub name: String,
    /// How to print it
    #[arg(
        long,
        short = 'o',
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub output: Format,
    /// Do not use colours
    #[arg(long)]
    pub no_color: bool,
}

/// Stories of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// A canary that passes its analysis and is promoted
    Canary,
    /// A canary whose error rate rises with its weight: the analysis aborts it
    Rollback,
    /// Blue-green with a promotion by hand
    Bluegreen,
}

/// `get`.
#[derive(Debug, Subcommand)]
pub enum Get {
    /// A rollout with its ReplicaSets, pods, analysis runs and experiments
    #[command(visible_aliases = ["ro", "rollouts"], after_help = "Example:\n  kubectl argo rollouts get rollout guestbook --watch")]
    Rollout(GetRollout),
    /// An experiment with its ReplicaSets, pods and analysis runs
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(GetExperiment),
}

/// `get rollout`.
#[derive(Debug, Args)]
pub struct GetRollout {
    /// Name
    pub name: String,
    /// Draw it again whenever something changes
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Do not use colours
    #[arg(long)]
    pub no_color: bool,
    /// End the watch after this many seconds, with exit code 1; 0 is without end
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub timeout_seconds: u64,
}

/// `get experiment`.
#[derive(Debug, Args)]
pub struct GetExperiment {
    /// Name
    pub name: String,
    /// Draw it again whenever something changes
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Do not use colours
    #[arg(long)]
    pub no_color: bool,
}

/// `lint`.
#[derive(Debug, Args)]
pub struct Lint {
    /// YAML or JSON file with any number of documents, a folder of such files, or - for stdin; can
    /// be given several times
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE")]
    pub filenames: Vec<PathBuf>,
}

/// `list`.
#[derive(Debug, Subcommand)]
pub enum List {
    /// Rollouts of a namespace, a line each
    #[command(visible_aliases = ["ro", "rollout"])]
    Rollouts(ListRollouts),
    /// Experiments of a namespace, a line each
    #[command(visible_aliases = ["exp", "experiment"])]
    Experiments(ListExperiments),
}

/// `list rollouts`.
#[derive(Debug, Args)]
pub struct ListRollouts {
    /// Only the rollout of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// All namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Print a line whenever something changes
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
}

/// `list experiments`.
#[derive(Debug, Args)]
pub struct ListExperiments {
    /// All namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
}

/// `promote`.
#[derive(Debug, Args)]
pub struct Promote {
    /// Name
    pub name: String,
    /// Skip analysis, pauses and steps
    #[arg(long)]
    pub full: bool,
    /// Skip the current step (deprecated)
    #[arg(long, short = 'c', hide = true)]
    pub skip_current_step: bool,
    /// Skip all steps (deprecated)
    #[arg(long, short = 'a', hide = true)]
    pub skip_all_steps: bool,
}

/// `restart`.
#[derive(Debug, Args)]
pub struct Restart {
    /// Name
    pub name: String,
    /// Begin after this time, such as 30s, 5m or 1h30m
    #[arg(long = "in", short = 'i', default_value = "", value_name = "TIME")]
    pub delay: String,
}

/// `retry`.
#[derive(Debug, Subcommand)]
pub enum Retry {
    /// Start an aborted update anew
    #[command(visible_aliases = ["ro", "rollouts"])]
    Rollout(Names),
    /// Run an experiment again
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(Names),
}

/// `set`.
#[derive(Debug, Subcommand)]
pub enum Set {
    /// Change the image of a container; `*` is all of them
    #[command(
        after_help = "Example:\n  kubectl argo rollouts set image guestbook web=nginx:1.28-alpine"
    )]
    Image(SetImage),
}

/// `set image`.
#[derive(Debug, Args)]
pub struct SetImage {
    /// Name
    pub name: String,
    /// CONTAINER=IMAGE
    #[arg(value_name = "CONTAINER=IMAGE")]
    pub image: String,
}

/// `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// YAML or JSON file with any number of documents, a folder of such files, or - for stdin; can
    /// be given several times
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE")]
    pub filenames: Vec<PathBuf>,
    /// Which rollout, where the files hold several
    #[arg(long, value_name = "NAME")]
    pub rollout: Option<String>,
    /// The new image; without one, the image of the files with another tag. Can be given several
    /// times, for several containers
    #[arg(long, value_name = "[CONTAINER=]IMAGE")]
    pub image: Vec<String>,
    /// What goes wrong; can be given several times
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,
    /// What a metric measures; can be given several times
    #[arg(long, value_name = "NAME = FORMULA")]
    pub metric: Vec<String>,
    /// Pods of the rollout, instead of the files' number
    #[arg(long, value_name = "N")]
    pub replicas: Option<u16>,
    /// The longest simulated time, such as 2h
    #[arg(long, default_value = "24h", value_name = "TIME")]
    pub until: String,
    /// End at a pause that waits for a person, instead of promoting
    #[arg(long)]
    pub no_promote: bool,
    /// Seed of names and faults: the same one gives the same timeline
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// How to print it
    #[arg(
        long,
        short = 'o',
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub output: Format,
    /// Do not use colours
    #[arg(long)]
    pub no_color: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Name
    pub name: String,
    /// Wait until it is healthy or degraded
    #[arg(long, short = 'w', default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub watch: bool,
    /// Longest time to wait, such as 60s; 0 is without end
    #[arg(long, short = 't', default_value = "0", value_name = "TIME")]
    pub timeout: String,
}

/// `terminate`.
#[derive(Debug, Subcommand)]
pub enum Terminate {
    /// End a running analysis run
    #[command(visible_aliases = ["ar", "analysisruns"])]
    Analysisrun(Names),
    /// End a running experiment
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(Names),
}

/// `undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// Name
    pub name: String,
    /// Revision to go back to; 0 is the one before the current
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub to_revision: i64,
}

/// `version`.
#[derive(Debug, Args)]
pub struct Version {
    /// Only the version
    #[arg(long)]
    pub short: bool,
}
