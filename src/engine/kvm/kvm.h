/* The engine `kvm`: x86-64 guests on the host's processor through /dev/kvm. Its description: docs/internals/kvm.md. */
#ifndef DOPPEL_ENGINE_KVM_KVM_H
#define DOPPEL_ENGINE_KVM_KVM_H

#include "engine/engine.h"

extern const struct engine engine_kvm;

#endif
