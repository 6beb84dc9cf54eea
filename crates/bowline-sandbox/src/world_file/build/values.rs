//! What of a world file has nothing to do with tasks: functions, parameters, secrets and the network.

use std::sync::Arc;
use std::time::Duration;

use super::Builder;
use crate::api::{check_parameter, check_secret};
use crate::functions::{self, Program};
use crate::identifiers::is_name;
use crate::network::Endpoint;
use crate::state::store::{Content, Parameter, Secret};
use crate::world_file::WorldFileError;
use crate::world_file::schema::{File, Function};

impl Builder<'_> {
    pub(super) fn function(&mut self, function: &Function) -> Result<(), WorldFileError> {
        let name = function.name.value.as_str();
        let program = match (&function.command, &function.bootstrap) {
            (Some(words), None) if !words.is_empty() => Program::Command(words.clone()),
            (None, Some(path)) => Program::Bootstrap(path.into()),
            (None, None) => Program::Fine,
            _ => {
                let text = format!("function {name} has a command or a bootstrap, not both");
                return Err(self.error(&function.name, text));
            }
        };
        if !is_name(name) {
            return Err(self.error(&function.name, format!("{name} is no name of a function")));
        }
        let made = functions::Function {
            name: name.to_owned(),
            program,
            environment: function.environment.clone(),
            timeout: Duration::from_secs(function.timeout.unwrap_or(60).clamp(1, 900)),
        };
        self.once("functions", name, &function.name)?;
        self.world.functions.insert(name.to_owned(), Arc::new(made));
        Ok(())
    }

    pub(super) fn stores(&mut self, file: &File) -> Result<(), WorldFileError> {
        for parameter in &file.parameters {
            let (at, value) = (&parameter.name, parameter.value.as_str());
            check_parameter(&at.value).map_err(|text| self.error(at, text))?;
            self.once("parameters", &at.value, at)?;
            if !(1..=4096).contains(&value.len()) {
                let text = "the value of a parameter has between 1 and 4096 bytes";
                return Err(self.error(at, text.to_owned()));
            }
            let kind = parameter.kind;
            let parameters = &mut self.world.stores.parameters;
            match parameters.get_mut(&at.value) {
                Some(known) => known.replace(value, kind),
                None => {
                    parameters.insert(at.value.clone(), Parameter::new(value, kind));
                }
            }
        }
        for secret in &file.secrets {
            let at = &secret.name;
            check_secret(&at.value).map_err(|text| self.error(at, text))?;
            self.once("secrets", &at.value, at)?;
            let content = Content::Text(secret.value.text());
            let secrets = &mut self.world.stores.secrets;
            match secrets.get_mut(&at.value) {
                Some(known) => known.replace(content),
                None => {
                    secrets.insert(at.value.clone(), Secret::new(content));
                }
            }
        }
        Ok(())
    }

    pub(super) fn network(&mut self, file: &File) -> Result<(), WorldFileError> {
        let Some(given) = &file.network else {
            return Ok(());
        };
        let network = &mut self.world.network;
        network.nat = given.nat.unwrap_or(network.nat);
        let Some(endpoints) = &given.endpoints else {
            return Ok(());
        };
        let account = &self.shared.account;
        self.world.network.endpoints = endpoints
            .iter()
            .map(|service| Endpoint::new(account, &service.value, given.private_dns))
            .collect();
        for service in endpoints {
            self.once("endpoints", &service.value, service)?;
            let is_name = |byte: u8| byte.is_ascii_lowercase() || b".-0123456789".contains(&byte);
            if service.value.is_empty() || !service.value.bytes().all(is_name) {
                let text = format!(
                    "{:?} is no service: write ssmmessages or ecr.api",
                    service.value
                );
                return Err(self.error(service, text));
            }
        }
        Ok(())
    }
}
