//! The persistence templates on the host.

use ipvs_common::{Template, TemplateKey};

use super::{HostTables, insert};
use crate::tables::Templates;

impl Templates for HostTables {
    type TemplateRef = TemplateKey;

    fn template(&mut self, key: &TemplateKey) -> Option<Self::TemplateRef> {
        self.templates.contains_key(key).then_some(*key)
    }
    fn load_template(&self, r: Self::TemplateRef) -> Template {
        self.templates.get(&r).copied().unwrap_or_default()
    }
    fn set_template_timer(&mut self, r: Self::TemplateRef, timeout: u64, expires: u64) {
        if let Some(t) = self.templates.get_mut(&r) {
            t.timeout = timeout;
            t.expires = expires;
        }
    }
    fn set_template_assured(&mut self, r: Self::TemplateRef) {
        if let Some(t) = self.templates.get_mut(&r) {
            t.assured = 1;
        }
    }
    fn restart_template(&mut self, r: Self::TemplateRef) {
        if let Some(t) = self.templates.get_mut(&r) {
            t.children = 1;
            t.assured = 0;
            t.renamed = 0;
        }
    }
    fn set_template_renamed(&mut self, r: Self::TemplateRef) {
        if let Some(t) = self.templates.get_mut(&r) {
            t.renamed = 1;
        }
    }
    fn add_template_children(&mut self, r: Self::TemplateRef, delta: i32) {
        if let Some(t) = self.templates.get_mut(&r) {
            t.children = t.children.wrapping_add_signed(delta);
        }
    }
    fn swap_template_dest(&mut self, r: Self::TemplateRef, old: u32, new: u32) -> bool {
        match self.templates.get_mut(&r) {
            Some(t) if t.dest == old => {
                t.dest = new;
                true
            }
            _ => false,
        }
    }
    fn insert_template(&mut self, key: &TemplateKey, template: &Template) -> bool {
        insert(
            &mut self.templates,
            self.capacities.templates,
            key,
            template,
            true,
        )
    }
    fn remove_template(&mut self, key: &TemplateKey) -> bool {
        self.templates.remove(key).is_some()
    }
}
