//! `set image` (CLI-33).

use kube::api::{Api, DynamicObject, PostParams};
use sluice_core::commands;
use sluice_crds::Rollout;

use super::workload;
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// How often a conflict is tried again.
const ATTEMPTS: u32 = 5;

/// Changes the image and says of which object.
///
/// # Errors
/// As [`change`].
pub async fn run(session: &Session, name: &str, argument: &str) -> Result<(), Failure> {
    let object = change(session, name, &[argument.to_owned()]).await?;
    output::line(format_args!("{object} image updated"));
    Ok(())
}

/// Reads the whole object, changes the images, each `CONTAINER=IMAGE`, writes it back; kind and name of the object.
///
/// # Errors
/// When no container has that name, or the API server refuses.
pub async fn change(
    session: &Session,
    name: &str,
    arguments: &[String],
) -> Result<String, Failure> {
    let mut images = Vec::new();
    for argument in arguments {
        images.push(parsed(argument)?);
    }
    let api: Api<Rollout> = Api::namespaced(session.client.clone(), &session.namespace);
    let rollout = api.get(name).await?;
    let workload = workload::of(session, &rollout)?;
    let mut attempt = 1;
    loop {
        let mut object = serde_json::to_value(workload.api.get(&workload.name).await?)?;
        for (container, image) in &images {
            commands::set_image(&mut object, container, image)?;
        }
        let object: DynamicObject = serde_json::from_value(object)?;
        match workload
            .api
            .replace(&workload.name, &PostParams::default(), &object)
            .await
        {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("{} \"{}\"", workload.kind, workload.name))
}

/// The container and its image.
fn parsed(argument: &str) -> Result<(&str, &str), Failure> {
    match argument.split('=').collect::<Vec<_>>()[..] {
        [container, image] if !container.is_empty() && !image.is_empty() => Ok((container, image)),
        _ => Err(Failure::message(format_args!(
            "{argument:?} is not CONTAINER=IMAGE, such as web=nginx:1.28-alpine"
        ))),
    }
}
