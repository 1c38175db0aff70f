//! Where built and fetched things are kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Error, progress};

/// A folder of finished things, each under a name that holds the hash of its ingredients.
///
/// An entry is made in a folder of its own and renamed when complete: an entry that exists is
/// whole. A lock file beside it keeps two processes from making the same entry at once.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: `$SLUICE_CACHE`, else `$XDG_CACHE_HOME/sluice`, else `~/.cache/sluice`.
    ///
    /// # Errors
    /// [`Error::NoCache`] when none of the three variables is set.
    pub fn from_env() -> Result<Self, Error> {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        locate(var("SLUICE_CACHE"), var("XDG_CACHE_HOME"), var("HOME"))
            .map(Self::at)
            .ok_or(Error::NoCache)
    }

    /// A cache in the given folder, which is made when first written to.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for files that are not cached but kept across processes, made if need be.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn state_dir(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).map_err(Error::io("create the folder", &dir))?;
        Ok(dir)
    }

    /// The entry `name-key`, made by `make` in the folder given to it unless it is there already.
    pub(crate) fn entry(
        &self,
        name: &str,
        key: &Key,
        make: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let done = self.root.join(format!("{name}-{}", key.0));
        if done.is_dir() {
            return Ok(done);
        }
        fs::create_dir_all(&self.root).map_err(Error::io("create the folder", &self.root))?;
        let _lock = self.lock(name)?;
        if done.is_dir() {
            return Ok(done); // made while we waited for the lock
        }
        // Under the lock nobody else works here, so what is found was left by a killed process.
        let partial = self.root.join(format!("{name}-{}.partial", key.0));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(Error::io("remove the remains", &partial))?;
        }
        fs::create_dir_all(&partial).map_err(Error::io("create the folder", &partial))?;
        make(&partial)?;
        fs::rename(&partial, &done).map_err(Error::io("rename into place", &partial))?;
        Ok(done)
    }

    /// Waits until no other process makes `name`. The lock goes with the returned file.
    fn lock(&self, name: &str) -> Result<File, Error> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open the lock file", &path))?;
        if file.try_lock().is_err() {
            progress::note(&format!("waiting for another process that builds {name}"));
            file.lock().map_err(Error::io("lock", &path))?;
        }
        Ok(file)
    }
}

fn locate(own: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    own.or_else(|| xdg.map(|dir| dir.join("sluice")))
        .or_else(|| home.map(|dir| dir.join(".cache/sluice")))
}

/// The hash of all ingredients of an entry: a change of any gives another entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// Hashes the ingredients, each with its length, so that no two lists look alike.
    pub(crate) fn of<'a>(ingredients: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in ingredients {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        Self(
            digest
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn path(p: &str) -> Option<PathBuf> {
        Some(PathBuf::from(p))
    }

    #[test]
    fn the_most_specific_variable_names_the_folder() {
        assert_eq!(
            locate(path("/own"), path("/xdg"), path("/home/me")),
            path("/own")
        );
        assert_eq!(
            locate(None, path("/xdg"), path("/home/me")),
            path("/xdg/sluice")
        );
        assert_eq!(
            locate(None, None, path("/home/me")),
            path("/home/me/.cache/sluice")
        );
        assert_eq!(locate(None, None, None), None);
    }

    #[test]
    fn keys_depend_on_every_ingredient_and_on_its_borders() {
        assert_eq!(Key::of(["a", "b"]), Key::of(["a", "b"]));
        assert_ne!(Key::of(["ab"]), Key::of(["a", "b"]));
        assert_ne!(Key::of(["a", "b"]), Key::of(["b", "a"]));
    }

    #[test]
    fn an_entry_is_made_once_and_appears_only_when_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let key = Key::of(["v1"]);
        let made = Cell::new(0);
        let make = |into: &Path| {
            made.set(made.get() + 1);
            fs::write(into.join("file"), "x").map_err(Error::io("write", into))
        };

        let failed = cache.entry("thing", &key, |into| {
            fs::write(into.join("half"), "").unwrap();
            Err(Error::NoCache)
        });
        assert!(failed.is_err());

        let first = cache.entry("thing", &key, make).unwrap();
        assert!(first.join("file").exists());
        assert!(
            !first.join("half").exists(),
            "remains of a failed attempt are gone"
        );
        assert_eq!(cache.entry("thing", &key, make).unwrap(), first);
        assert_eq!(made.get(), 1);

        let other = cache.entry("thing", &Key::of(["v2"]), make).unwrap();
        assert_ne!(other, first);
        assert_eq!(made.get(), 2);
    }
}
