//! The persistence templates over their BPF map.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg},
    ptr::{self, NonNull},
};

use aya_ebpf::bindings::BPF_NOEXIST;
use ipvs_common::{Template, TemplateKey};
use ipvs_datapath::tables::Templates;

use super::{Family, Maps, add};

impl<A: Family> Templates for Maps<A> {
    type A = A;
    type TemplateRef = NonNull<Template>;

    #[inline(always)]
    fn template(&mut self, key: &TemplateKey<A>) -> Option<NonNull<Template>> {
        A::templates().get_ptr_mut(key).and_then(NonNull::new)
    }
    #[inline(always)]
    fn load_template(&self, template: NonNull<Template>) -> Template {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { ptr::read(template.as_ptr()) }
    }
    #[inline(always)]
    fn set_template_timer(&mut self, template: NonNull<Template>, timeout: u64, expires: u64) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe {
            (*template.as_ptr()).timeout = timeout;
            (*template.as_ptr()).expires = expires;
        }
    }
    #[inline(always)]
    fn set_template_assured(&mut self, template: NonNull<Template>) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { (*template.as_ptr()).assured = 1 };
    }
    #[inline(always)]
    fn restart_template(&mut self, template: NonNull<Template>) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe {
            (*template.as_ptr()).children = 1;
            (*template.as_ptr()).assured = 0;
            (*template.as_ptr()).renamed = 0;
        }
    }
    #[inline(always)]
    fn set_template_renamed(&mut self, template: NonNull<Template>) {
        // SAFETY: a value pointer of a lookup in this run.
        unsafe { (*template.as_ptr()).renamed = 1 };
    }
    #[inline(always)]
    fn add_template_children(&mut self, template: NonNull<Template>, delta: i32) {
        // SAFETY: a value pointer of a lookup in this run; the field is aligned.
        unsafe { add(&raw mut (*template.as_ptr()).children, delta as u32) };
    }
    #[inline(always)]
    fn swap_template_dest(&mut self, template: NonNull<Template>, old: u32, new: u32) -> bool {
        // SAFETY: a value pointer of a lookup in this run; the field is aligned.
        let (_, swapped) = unsafe {
            atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                &raw mut (*template.as_ptr()).dest,
                old,
                new,
            )
        };
        swapped
    }
    #[inline(always)]
    fn insert_template(&mut self, key: &TemplateKey<A>, template: &Template) -> bool {
        A::templates()
            .insert(key, template, BPF_NOEXIST.into())
            .is_ok()
    }
    #[inline(always)]
    fn remove_template(&mut self, key: &TemplateKey<A>) -> bool {
        A::templates().remove(key).is_ok()
    }
}
