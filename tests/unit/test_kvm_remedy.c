/* SPDX-License-Identifier: MIT */
/* What is said of a KVM that is not usable: the cause that this machine shows, and what to do. */
#include "assertions.h"

#include <grp.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "engine/kvm_remedy.h"

struct fixture {
    char *tmpdir;
    char *device, *sysfs, *cpuinfo, *mark; /* files that a test may make */
    const char *marks[2];
    struct fvm_kvm_places places;
    struct fvm_kvm kvm;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->tmpdir = make_own_tmpdir();
    fixture->device = fvm_format("%s/kvm", fixture->tmpdir);
    fixture->sysfs = fvm_format("%s/sysfs", fixture->tmpdir);
    fixture->cpuinfo = fvm_format("%s/cpuinfo", fixture->tmpdir);
    fixture->mark = fvm_format("%s/mark", fixture->tmpdir);
    fixture->marks[0] = fixture->mark;
    fixture->places = (struct fvm_kvm_places){.device = fixture->device,
                                              .sysfs = fixture->sysfs,
                                              .cpuinfo = fixture->cpuinfo,
                                              .container_marks = fixture->marks};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    remove_own_tmpdir(fixture->tmpdir);
    free(fixture->device);
    free(fixture->sysfs);
    free(fixture->cpuinfo);
    free(fixture->mark);
    free(fixture);
    return 0;
}

#define remedy_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void make(const char *path, const char *text)
{
    assert_int_equal(fvm_replace_file(path, text), 0);
}

/* With these flags and no others that count. */
static void make_cpu(const struct fixture *fixture, const char *flags)
{
    cleanup_free char *text = fvm_format("processor\t: 0\nmodel name\t: vmx svm hypervisor\n"
                                         "flags\t\t: fpu vme %s sse2\nvmx flags\t: svm\n\n"
                                         "processor\t: 1\nflags\t\t: vmx svm hypervisor\n",
                                         flags);

    make(fixture->cpuinfo, text);
}

static void assert_says(struct fixture *fixture, const char *answer, const char *reason,
                        const char *remedy)
{
    snprintf(fixture->kvm.reason, sizeof fixture->kvm.reason, "%s", answer);
    fvm_kvm_explain(&fixture->kvm, &fixture->places);
    assert_string_equal(fixture->kvm.reason, reason);
    if (strstr(fixture->kvm.remedy, remedy) == NULL)
        fail_msg("\"%s\" is not told: \"%s\"", remedy, fixture->kvm.remedy);
}

/* ---- no device ---- */

static void a_vm_without_nested_virtualization(void **state)
{
    struct fixture *fixture = *state;

    make_cpu(fixture, "hypervisor");
    assert_says(fixture, FVM_KVM_NO_DEVICE,
                "there is no /dev/kvm: this VM's processor has no virtualization (vmx or svm)",
                "nested virtualization switched on for this VM at its cloud or hypervisor");
}

static void a_processor_without_virtualization(void **state)
{
    struct fixture *fixture = *state;

    make_cpu(fixture, "vmxx xsvm");
    assert_says(
        fixture, FVM_KVM_NO_DEVICE,
        "there is no /dev/kvm: the processor has no virtualization (vmx or svm), or it is off",
        "Switch it on in the BIOS or UEFI");
}

static void a_module_that_is_not_loaded(void **state)
{
    struct fixture *fixture = *state;

    make_cpu(fixture, "vmx");
    assert_says(
        fixture, FVM_KVM_NO_DEVICE, "there is no /dev/kvm: its module kvm_intel is not loaded",
        "As root: modprobe kvm_intel. If that is refused, virtualization is disabled in the "
        "BIOS or UEFI (\"disabled by bios\"");
    make_cpu(fixture, "hypervisor svm");
    assert_says(fixture, FVM_KVM_NO_DEVICE,
                "there is no /dev/kvm: its module kvm_amd is not loaded",
                "As root: modprobe kvm_amd");
}

static void a_module_that_is_not_loaded_on_a_containers_host(void **state)
{
    struct fixture *fixture = *state;

    make_cpu(fixture, "svm");
    make(fixture->mark, "");
    assert_says(fixture, FVM_KVM_NO_DEVICE,
                "there is no /dev/kvm: its module kvm_amd is not loaded",
                "On the container's host: modprobe kvm_amd. Then start the container with --device "
                "/dev/kvm");
}

static void a_processor_that_is_not_told(void **state)
{
    static const char remedy[] = "modprobe kvm_intel (or kvm_amd)";
    struct fixture *fixture = *state;

    assert_says(fixture, FVM_KVM_NO_DEVICE, FVM_KVM_NO_DEVICE, remedy);
    make(fixture->cpuinfo, "processor\t: 0\n");
    assert_says(fixture, FVM_KVM_NO_DEVICE, FVM_KVM_NO_DEVICE, remedy);
}

/* udev makes the device ahead of the driver, which then is not there when it is opened. */
static void a_device_without_its_driver(void **state)
{
    struct fixture *fixture = *state;

    make_cpu(fixture, "vmx");
    make(fixture->device, "");
    assert_says(fixture, "cannot open /dev/kvm: No such device",
                "cannot open /dev/kvm: No such device: its module kvm_intel is not loaded",
                "modprobe kvm_intel");
    make_cpu(fixture, "hypervisor");
    assert_says(fixture, "cannot open /dev/kvm: No such device or address",
                "cannot open /dev/kvm: No such device or address: this VM's processor has no "
                "virtualization (vmx or svm)",
                "nested virtualization");
}

static void a_container_that_was_not_given_the_device(void **state)
{
    struct fixture *fixture = *state;

    make_cpu(fixture, "vmx");
    make(fixture->sysfs, "");
    make(fixture->mark, "");
    assert_says(fixture, FVM_KVM_NO_DEVICE, "there is no /dev/kvm: this container was not given it",
                "Start the container with --device /dev/kvm");
}

static void a_chroot_without_the_device(void **state)
{
    struct fixture *fixture = *state;

    make(fixture->sysfs, "");
    assert_says(fixture, FVM_KVM_NO_DEVICE,
                "there is no /dev/kvm: the kernel has KVM, only the device is missing here",
                "mknod -m 660 /dev/kvm c 10 232");
}

/* ---- no permission ---- */

#define DENIED "cannot open /dev/kvm: Permission denied"

enum { ORDINARY = 12345 };

/* It is asked by an ordinary user, as whom nothing here may fail. */
static void assert_denied(struct fixture *fixture, const char *remedy)
{
    assert_int_equal(chmod(fixture->tmpdir, 0755), 0);
    assert_int_equal(setegid(ORDINARY), 0);
    assert_int_equal(seteuid(ORDINARY), 0);
    snprintf(fixture->kvm.reason, sizeof fixture->kvm.reason, DENIED);
    fvm_kvm_explain(&fixture->kvm, &fixture->places);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    assert_string_equal(fixture->kvm.reason, DENIED);
    assert_non_null(strstr(fixture->kvm.remedy, remedy));
}

static void a_device_of_a_group(void **state)
{
    struct fixture *fixture = *state;
    const struct group *group;

    if (!is_root())
        skip();
    make(fixture->device, "");
    group = getgrnam("adm");
    assert_non_null(group);
    assert_int_equal(chown(fixture->device, 0, group->gr_gid), 0);
    assert_int_equal(chmod(fixture->device, 0660), 0);
    assert_denied(fixture, "Join the device's group: sudo usermod -aG adm $USER, and log in again");
}

static void a_device_of_roots_alone(void **state)
{
    static const char remedy[] = "sudo setfacl -m u:$USER:rw /dev/kvm";
    struct fixture *fixture = *state;

    if (!is_root())
        skip();
    make(fixture->device, "");
    assert_int_equal(chmod(fixture->device, 0660), 0); /* of the group root, too */
    assert_denied(fixture, remedy);
    assert_int_equal(chown(fixture->device, 0, 4), 0);
    assert_int_equal(chmod(fixture->device, 0640), 0); /* a group that may only read */
    assert_denied(fixture, remedy);
    assert_int_equal(chown(fixture->device, 0, 54321), 0); /* one without a name */
    assert_int_equal(chmod(fixture->device, 0660), 0);
    assert_denied(fixture, remedy);
    assert_denied(fixture, "udev rule: KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"");
}

static void a_device_of_a_containers(void **state)
{
    struct fixture *fixture = *state;

    if (!is_root())
        skip();
    make(fixture->device, "");
    make(fixture->mark, "");
    assert_int_equal(chown(fixture->device, 0, 54321), 0);
    assert_int_equal(chmod(fixture->device, 0660), 0);
    assert_denied(fixture, "with --device /dev/kvm --group-add 54321");
    assert_denied(fixture, "--group-add keep-groups");
}

/* The mode allows it, so something else does not. */
static void devices_that_cannot_be_opened_at_all(void **state)
{
    static const char *const answers[] = {DENIED, "cannot open /dev/kvm: Operation not permitted"};
    struct fixture *fixture = *state;

    make(fixture->device, "");
    assert_int_equal(chmod(fixture->device, 0666), 0);
    for (size_t i = 0; i < LENGTH(answers); i++)
        assert_says(fixture, answers[i], answers[i], "nodev");
    make(fixture->mark, "");
    for (size_t i = 0; i < LENGTH(answers); i++)
        assert_says(fixture, answers[i], answers[i], "Start the container with --device /dev/kvm");
}

/* ---- a device that is of no use ---- */

static void each_answer_of_the_probe_has_a_remedy(void **state)
{
    static const struct {
        const char *answer, *remedy;
    } answers[] = {
        {"/dev/kvm does not make VMs: Device or resource busy", "Another hypervisor"},
        {"it takes VMs but emulates their code far too slowly",
         "another machine type has one that works"},
        {"/dev/kvm is no KVM device: Inappropriate ioctl for device", "remove it"},
        {"cannot open /dev/kvm: Is a directory", "remove it"},
        {"/dev/kvm has the API version 11, and not 12", "This kernel is too old"},
        {"flashvm-probe-kvm gave no answer (it has 2000 ms for it)", "ask again"},
        {"cannot start /x/flashvm-probe-kvm: No such file or directory", "Install flashVM again"},
        {"/dev/kvm does not make CPUs: Cannot allocate memory", "memory"},
        {"its guest ended in an unexpected way (exit reason 17)", "dmesg"},
        {"", "dmesg"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < LENGTH(answers); i++)
        assert_says(fixture, answers[i].answer, answers[i].answer, answers[i].remedy);
}

/* An answer that fills the reason leaves no place for more. */
static void a_long_answer_is_not_overrun(void **state)
{
    char answer[sizeof((struct fvm_kvm *)NULL)->reason];
    struct fixture *fixture = *state;

    memset(answer, 'x', sizeof answer - 1);
    answer[sizeof answer - 1] = '\0';
    memcpy(answer, FVM_KVM_NO_DEVICE, sizeof FVM_KVM_NO_DEVICE - 1);
    make_cpu(fixture, "vmx");
    assert_says(fixture, answer, answer, "modprobe kvm_intel");
}

/* An ordinary user is in none of root's. */
static int leave_groups(void **state)
{
    (void)state;
    return is_root() ? setgroups(0, NULL) : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        remedy_test(a_vm_without_nested_virtualization),
        remedy_test(a_processor_without_virtualization),
        remedy_test(a_module_that_is_not_loaded),
        remedy_test(a_module_that_is_not_loaded_on_a_containers_host),
        remedy_test(a_processor_that_is_not_told),
        remedy_test(a_device_without_its_driver),
        remedy_test(a_container_that_was_not_given_the_device),
        remedy_test(a_chroot_without_the_device),
        remedy_test(a_device_of_a_group),
        remedy_test(a_device_of_roots_alone),
        remedy_test(a_device_of_a_containers),
        remedy_test(devices_that_cannot_be_opened_at_all),
        remedy_test(each_answer_of_the_probe_has_a_remedy),
        remedy_test(a_long_answer_is_not_overrun),
    };

    return cmocka_run_group_tests_name("kvm_remedy", tests, leave_groups, NULL);
}
