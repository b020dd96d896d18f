//! The persistence templates on the host.

use ipvs_common::{Template, TemplateKey};

use super::{View, Width, insert};
use crate::tables::Templates;

impl<A: Width> Templates for View<'_, A> {
    type A = A;
    type TemplateRef = TemplateKey<A>;

    fn template(&mut self, key: &TemplateKey<A>) -> Option<Self::TemplateRef> {
        self.flows().templates.contains_key(key).then_some(*key)
    }
    fn load_template(&self, r: Self::TemplateRef) -> Template {
        self.flows().templates.get(&r).copied().unwrap_or_default()
    }
    fn set_template_timer(&mut self, r: Self::TemplateRef, timeout: u64, expires: u64) {
        if let Some(t) = self.flows_mut().templates.get_mut(&r) {
            t.timeout = timeout;
            t.expires = expires;
        }
    }
    fn set_template_assured(&mut self, r: Self::TemplateRef) {
        if let Some(t) = self.flows_mut().templates.get_mut(&r) {
            t.assured = 1;
        }
    }
    fn restart_template(&mut self, r: Self::TemplateRef) {
        if let Some(t) = self.flows_mut().templates.get_mut(&r) {
            t.children = 1;
            t.assured = 0;
            t.renamed = 0;
        }
    }
    fn set_template_renamed(&mut self, r: Self::TemplateRef) {
        if let Some(t) = self.flows_mut().templates.get_mut(&r) {
            t.renamed = 1;
        }
    }
    fn add_template_children(&mut self, r: Self::TemplateRef, delta: i32) {
        if let Some(t) = self.flows_mut().templates.get_mut(&r) {
            t.children = t.children.wrapping_add_signed(delta);
        }
    }
    fn swap_template_dest(&mut self, r: Self::TemplateRef, old: u32, new: u32) -> bool {
        match self.flows_mut().templates.get_mut(&r) {
            Some(t) if t.dest == old => {
                t.dest = new;
                true
            }
            _ => false,
        }
    }
    fn insert_template(&mut self, key: &TemplateKey<A>, template: &Template) -> bool {
        let room = self.room().templates;
        insert(&mut self.flows_mut().templates, room, key, template, true)
    }
    fn remove_template(&mut self, key: &TemplateKey<A>) -> bool {
        self.flows_mut().templates.remove(key).is_some()
    }
}
