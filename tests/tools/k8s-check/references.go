package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The Secret that CloudNativePG creates for a Cluster of this name.
const postgresCA = "postgres-ca"

// printedSecrets runs the script that creates the Secrets, and returns the keys of each.
func printedSecrets(decoder runtime.Decoder, script string) (map[string][]string, []string) {
	command := exec.Command("bash", script)
	command.Env = append(os.Environ(), "PAYMENT_API_KEY=x", "PAYMENT_WEBHOOK_SECRET=x", "SMTP_URL=x")
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		return nil, []string{script + ": " + err.Error()}
	}
	keys := map[string][]string{postgresCA: {"ca.crt"}}
	var problems []string
	for _, document := range bytes.Split(text, []byte("---\n")) {
		if len(document) == 0 {
			continue
		}
		object, _, err := decoder.Decode(document, nil, nil)
		secret, isSecret := object.(*core.Secret)
		if err != nil || !isSecret {
			problems = append(problems, fmt.Sprintf("%s: not a Secret: %v", script, err))
			continue
		}
		for key := range secret.Data {
			keys[secret.Name] = append(keys[secret.Name], key)
		}
	}
	return keys, problems
}

// workload is a pod template and how its controller finds its pods.
type workload struct {
	kind, name string
	selector   *meta.LabelSelector
	template   core.PodTemplateSpec
	claims     []string
}

func workloads(objects []runtime.Object) (found []workload) {
	for _, object := range objects {
		switch o := object.(type) {
		case *apps.Deployment:
			found = append(found, workload{"Deployment", o.Name, o.Spec.Selector, o.Spec.Template, nil})
		case *apps.StatefulSet:
			var claims []string
			for _, claim := range o.Spec.VolumeClaimTemplates {
				claims = append(claims, claim.Name)
			}
			found = append(found, workload{"StatefulSet", o.Name, o.Spec.Selector, o.Spec.Template, claims})
		case *batch.Job:
			found = append(found, workload{"Job", o.Name, nil, o.Spec.Template, nil})
		case *batch.CronJob:
			found = append(found, workload{"CronJob", o.Name, nil, o.Spec.JobTemplate.Spec.Template, nil})
		}
	}
	return found
}

// references checks every name and label by which one object refers to another.
func references(objects []runtime.Object, secrets map[string][]string) (problems []string) {
	report := func(format string, values ...any) { problems = append(problems, fmt.Sprintf(format, values...)) }
	pods := workloads(objects)
	names := map[string]bool{}
	for _, object := range objects {
		access, ok := object.(meta.Object)
		if ok {
			names[object.GetObjectKind().GroupVersionKind().Kind+" "+access.GetName()] = true
		}
	}
	matching := func(selector labels.Selector) (found []workload) {
		for _, pod := range pods {
			if selector.Matches(labels.Set(pod.template.Labels)) {
				found = append(found, pod)
			}
		}
		return found
	}
	selected := func(what string, selector *meta.LabelSelector) []workload {
		parsed, err := meta.LabelSelectorAsSelector(selector)
		if err != nil {
			report("%s: %v", what, err)
			return nil
		}
		found := matching(parsed)
		// CloudNativePG makes these pods.
		if len(found) == 0 && selector.MatchLabels["cnpg.io/cluster"] == "" {
			report("%s selects no pod", what)
		}
		return found
	}
	for _, pod := range pods {
		problems = append(problems, podProblems(pod, names, secrets)...)
		if pod.selector != nil {
			for _, other := range selected(pod.kind+" "+pod.name, pod.selector) {
				if other.name != pod.name {
					report("%s %s selects the pods of %s, too", pod.kind, pod.name, other.name)
				}
			}
		}
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *policy.PodDisruptionBudget:
			if len(selected("PodDisruptionBudget "+o.Name, o.Spec.Selector)) > 1 {
				report("PodDisruptionBudget %s is for several workloads", o.Name)
			}
		case *networking.NetworkPolicy:
			selected("NetworkPolicy "+o.Name, &o.Spec.PodSelector)
			for _, rule := range o.Spec.Ingress {
				for _, peer := range rule.From {
					if peer.PodSelector != nil && peer.NamespaceSelector == nil {
						selected("NetworkPolicy "+o.Name+", from", peer.PodSelector)
					}
				}
			}
		case *core.Service:
			found := matching(labels.SelectorFromSet(o.Spec.Selector))
			if len(found) != 1 {
				report("Service %s leads to %d workloads", o.Name, len(found))
				continue
			}
			for _, port := range o.Spec.Ports {
				if !hasPort(found[0].template.Spec.Containers[0], port.TargetPort) {
					report("Service %s: no container port %s", o.Name, port.TargetPort.String())
				}
			}
		case *keda.ScaledObject:
			if !names["Deployment "+o.Spec.ScaleTargetRef.Name] {
				report("ScaledObject %s: no Deployment %s", o.Name, o.Spec.ScaleTargetRef.Name)
			}
		case *autoscaling.HorizontalPodAutoscaler:
			if target := o.Spec.ScaleTargetRef; !names[target.Kind+" "+target.Name] {
				report("HorizontalPodAutoscaler %s: no %s %s", o.Name, target.Kind, target.Name)
			}
		case *networking.Ingress:
			for _, rule := range o.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					if service := path.Backend.Service.Name; !names["Service "+service] {
						report("Ingress %s: no Service %s", o.Name, service)
					}
				}
			}
		}
	}
	return problems
}

// podProblems checks what a pod refers to, and that it runs with no more rights than it needs.
func podProblems(pod workload, names map[string]bool, secrets map[string][]string) (problems []string) {
	report := func(format string, values ...any) {
		problems = append(problems, pod.kind+" "+pod.name+": "+fmt.Sprintf(format, values...))
	}
	spec := pod.template.Spec
	volumes := slices.Clone(pod.claims)
	needs := func(secret string, items []core.KeyToPath) {
		keys, exists := secrets[secret]
		if !exists {
			report("nobody creates the Secret %s", secret)
		}
		for _, item := range items {
			if exists && !slices.Contains(keys, item.Key) {
				report("the Secret %s has no key %s", secret, item.Key)
			}
		}
	}
	for _, volume := range spec.Volumes {
		volumes = append(volumes, volume.Name)
		if volume.Secret != nil {
			needs(volume.Secret.SecretName, volume.Secret.Items)
		}
		if volume.Projected != nil {
			for _, source := range volume.Projected.Sources {
				needs(source.Secret.Name, source.Secret.Items)
			}
		}
		if volume.ConfigMap != nil && !names["ConfigMap "+volume.ConfigMap.Name] {
			report("no ConfigMap %s", volume.ConfigMap.Name)
		}
		if claim := volume.PersistentVolumeClaim; claim != nil && !names["PersistentVolumeClaim "+claim.ClaimName] {
			report("no PersistentVolumeClaim %s", claim.ClaimName)
		}
	}
	security := spec.SecurityContext
	if security == nil || security.RunAsNonRoot == nil || !*security.RunAsNonRoot || security.SeccompProfile == nil {
		report("must run as another user than root with a seccomp profile")
	}
	for _, container := range spec.Containers {
		for _, mount := range container.VolumeMounts {
			if !slices.Contains(volumes, mount.Name) {
				report("no volume %s", mount.Name)
			}
		}
		for _, from := range container.EnvFrom {
			if from.ConfigMapRef != nil && !names["ConfigMap "+from.ConfigMapRef.Name] {
				report("no ConfigMap %s", from.ConfigMapRef.Name)
			}
		}
		for _, probe := range []*core.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
			if probe != nil && probe.HTTPGet != nil && !hasPort(container, probe.HTTPGet.Port) {
				report("a probe of %s names a port that it does not have: %s", container.Name, probe.HTTPGet.Port.String())
			}
		}
		limits := container.SecurityContext
		isTight := limits != nil && limits.ReadOnlyRootFilesystem != nil && *limits.ReadOnlyRootFilesystem &&
			limits.AllowPrivilegeEscalation != nil && !*limits.AllowPrivilegeEscalation &&
			limits.Capabilities != nil && slices.Contains(limits.Capabilities.Drop, "ALL")
		if !isTight {
			report("%s needs a read-only root, no privilege escalation and no capabilities", container.Name)
		}
	}
	return problems
}

func hasPort(container core.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(container.Ports, func(own core.ContainerPort) bool {
		return own.Name == port.StrVal || own.ContainerPort == port.IntVal && port.IntVal != 0
	})
}
