/* SPDX-License-Identifier: MIT */
#include "engine/kvm_remedy.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Of podman and others of its kind, of Docker, and of systemd-nspawn and LXC. */
static const char *const container_marks[] = {"/run/.containerenv", "/.dockerenv",
                                              "/run/systemd/container", NULL};

const struct fvm_kvm_places fvm_kvm_places = {
    .device = "/dev/kvm",
    .sysfs = "/sys/class/misc/kvm",
    .cpuinfo = "/proc/cpuinfo",
    .container_marks = container_marks,
};

static bool is_container(const struct fvm_kvm_places *places)
{
    for (const char *const *mark = places->container_marks; *mark; mark++)
        if (access(*mark, F_OK) == 0)
            return true;
    return false;
}

static void set_remedy(struct fvm_kvm *kvm, const char *remedy)
{
    snprintf(kvm->remedy, sizeof kvm->remedy, "%s", remedy);
}

static void add_cause(struct fvm_kvm *kvm, const char *cause)
{
    size_t length = strlen(kvm->reason);

    snprintf(kvm->reason + length, sizeof kvm->reason - length, ": %s", cause);
}

/* ---- no device, or one with no driver -------------------------------------------------------- */

/* What the first processor is capable of, by /proc/cpuinfo. */
struct cpu {
    bool known;
    bool has_vmx, has_svm;
    bool is_virtual;
};

static struct cpu look_at_cpu(const char *cpuinfo)
{
    cleanup_file FILE *file = fopen(cpuinfo, "re");
    cleanup_free char *line = NULL;
    struct cpu cpu = {0};
    size_t size = 0;
    char *rest;

    while (!cpu.known && file && getline(&line, &size, file) > 0)
        cpu.known = strncmp(line, "flags", 5) == 0;
    if (!cpu.known)
        return cpu;
    for (char *flag = strtok_r(line, " \t\n", &rest); flag; flag = strtok_r(NULL, " \t\n", &rest)) {
        cpu.has_vmx |= strcmp(flag, "vmx") == 0;
        cpu.has_svm |= strcmp(flag, "svm") == 0;
        cpu.is_virtual |= strcmp(flag, "hypervisor") == 0;
    }
    return cpu;
}

static void explain_no_module(struct fvm_kvm *kvm, const struct fvm_kvm_places *places,
                              const char *module)
{
    char text[80];

    snprintf(text, sizeof text, "its module %s is not loaded", module);
    add_cause(kvm, text);
    if (is_container(places))
        snprintf(kvm->remedy, sizeof kvm->remedy,
                 "On the container's host: modprobe %s. Then start the container with --device "
                 "/dev/kvm",
                 module);
    else /* The flag may be there though the firmware has locked it, which the module then says. */
        snprintf(kvm->remedy, sizeof kvm->remedy,
                 "As root: modprobe %s. If that is refused, virtualization is disabled in the BIOS "
                 "or UEFI (\"disabled by bios\" in the kernel's log): switch it on there",
                 module);
}

static void explain_no_driver(struct fvm_kvm *kvm, const struct fvm_kvm_places *places)
{
    struct cpu cpu = look_at_cpu(places->cpuinfo);

    if (!cpu.known) {
        set_remedy(kvm, "The processor must have virtualization, switched on in the BIOS or UEFI, "
                        "or for a VM at its cloud or hypervisor; then, as root: modprobe kvm_intel "
                        "(or kvm_amd)");
    } else if (cpu.has_vmx || cpu.has_svm) {
        explain_no_module(kvm, places, cpu.has_vmx ? "kvm_intel" : "kvm_amd");
    } else if (cpu.is_virtual) {
        add_cause(kvm, "this VM's processor has no virtualization (vmx or svm)");
        set_remedy(kvm, "Have nested virtualization switched on for this VM at its cloud or "
                        "hypervisor, or take a machine type that has it");
    } else {
        add_cause(kvm, "the processor has no virtualization (vmx or svm), or it is off");
        set_remedy(kvm, "Switch it on in the BIOS or UEFI, where it is called VT-x or SVM");
    }
}

static void explain_no_device(struct fvm_kvm *kvm, const struct fvm_kvm_places *places)
{
    if (access(places->sysfs, F_OK) < 0) {
        explain_no_driver(kvm, places);
    } else if (is_container(places)) {
        add_cause(kvm, "this container was not given it");
        set_remedy(kvm, "Start the container with --device /dev/kvm");
    } else {
        add_cause(kvm, "the kernel has KVM, only the device is missing here");
        set_remedy(kvm, "In a chroot or sandbox, give it the host's /dev; else, as root: mknod -m "
                        "660 /dev/kvm c 10 232");
    }
}

/* ---- no permission --------------------------------------------------------------------------- */

/* May a group of users have the device, and which? Put its name into `name`. */
static bool find_group(const struct stat *device, char *name, size_t size)
{
    char space[4096];
    struct group entry, *found = NULL;

    if (device->st_gid == 0 || (device->st_mode & 0060) != 0060 ||
        getgrgid_r(device->st_gid, &entry, space, sizeof space, &found) != 0 || found == NULL)
        return false;
    snprintf(name, size, "%s", found->gr_name);
    return true;
}

static void explain_no_permission(struct fvm_kvm *kvm, const struct fvm_kvm_places *places)
{
    bool contained = is_container(places);
    char group[64];
    struct stat device;

    if (stat(places->device, &device) < 0)
        return;
    if (euidaccess(places->device, R_OK | W_OK) == 0) /* so it is not the file's mode */
        set_remedy(kvm, contained
                            ? "Start the container with --device /dev/kvm"
                            : "Its mode would allow it: a file system mounted with nodev, or a "
                              "security module (SELinux, AppArmor), forbids it");
    else if (contained || geteuid() == 0) /* root of a user namespace */
        snprintf(kvm->remedy, sizeof kvm->remedy,
                 "Start the container with --device /dev/kvm --group-add %u, the device's group "
                 "(with rootless podman: --group-add keep-groups)",
                 device.st_gid);
    else if (find_group(&device, group, sizeof group))
        snprintf(kvm->remedy, sizeof kvm->remedy,
                 "Join the device's group: sudo usermod -aG %s $USER, and log in again", group);
    else
        set_remedy(kvm, "The device is root's alone: sudo setfacl -m u:$USER:rw /dev/kvm, until it "
                        "is made anew; for good by a udev rule: KERNEL==\"kvm\", GROUP=\"kvm\", "
                        "MODE=\"0660\"");
}

/* ---- all of it ------------------------------------------------------------------------------- */

#define NO_DEVICE_OF_KVM                                                                           \
    "Something else has the device's name: remove it, and as root: mknod -m 660 /dev/kvm c 10 232"

/*
 * By words of the reason: the probe's own, and those of strerror() without a locale. The first that
 * fits counts.
 */
static const struct {
    const char *words;
    const char *remedy;                                               /* or: */
    void (*explain)(struct fvm_kvm *, const struct fvm_kvm_places *); /* which sets it */
} causes[] = {
    {FVM_KVM_NO_DEVICE, NULL, explain_no_device},
    {"cannot open /dev/kvm: No such device", NULL, explain_no_driver}, /* "or address", too */
    {"Permission denied", NULL, explain_no_permission},
    {"Operation not permitted", NULL, explain_no_permission},
    {"Device or resource busy",
     "Another hypervisor has the processor: end its VMs, as of VirtualBox or VMware, or unload its "
     "module",
     NULL},
    {"far too slowly",
     "Only another machine type has one that works; here the engine qemu emulates the CPU (TCG)",
     NULL},
    {"is no KVM device", NO_DEVICE_OF_KVM, NULL},
    {"Is a directory", NO_DEVICE_OF_KVM, NULL},
    {"has the API version", "This kernel is too old, or no Linux of the usual kind: take another",
     NULL},
    {"gave no answer",
     "If the machine is very busy, ask again; if it stays so, its KVM hangs and is of no use",
     NULL},
    {"cannot start ", "Install flashVM again", NULL},
    {"Cannot allocate memory", "Free some memory of the machine or of its control group", NULL},
    {"", "Look for the cause in the kernel's log: dmesg | grep -i kvm", NULL},
};

void fvm_kvm_explain(struct fvm_kvm *kvm, const struct fvm_kvm_places *places)
{
    size_t i = 0;

    while (strstr(kvm->reason, causes[i].words) == NULL) /* the last one fits all */
        i++;
    kvm->remedy[0] = '\0';
    if (causes[i].explain)
        causes[i].explain(kvm, places);
    else
        set_remedy(kvm, causes[i].remedy);
}
