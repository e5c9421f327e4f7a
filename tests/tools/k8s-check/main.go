// Renders overlays of deploy/kubernetes as kubectl does, and checks what comes out:
//
//	k8s-check SECRETS.sh OVERLAY …
//
// Every object is decoded strictly into the type that Kubernetes, CloudNativePG or KEDA itself decodes it into, so a field with
// a wrong name, place or type is an error. Schemas for kubeconform would have to come from the network; these types come with
// the module proxy, pinned by go.sum. What no type expresses (names that refer to other objects) is in references.go, and what
// must agree with Marquee's own code in tests/system/tidy/deploy.rs.
package main

import (
	"fmt"
	"os"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "k8s-check SECRETS.sh OVERLAY …")
		os.Exit(2)
	}
	decoder := strictDecoder()
	secrets, problems := printedSecrets(decoder, os.Args[1])
	for _, overlay := range os.Args[2:] {
		objects, found := rendered(decoder, overlay)
		found = append(found, references(objects, secrets)...)
		for _, problem := range found {
			problems = append(problems, overlay+": "+problem)
		}
		fmt.Printf("%s: %d objects\n", overlay, len(objects))
	}
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) != 0 {
		os.Exit(1)
	}
}

// strictDecoder knows every kind that an overlay may have and refuses fields that a kind does not have.
func strictDecoder() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, batch.AddToScheme, policy.AddToScheme, networking.AddToScheme,
		autoscaling.AddToScheme, keda.AddToScheme, addCluster,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// rendered is `kubectl kustomize --load-restrictor LoadRestrictionsNone`, decoded.
func rendered(decoder runtime.Decoder, overlay string) (objects []runtime.Object, problems []string) {
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), overlay)
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s %s: %v", resource.GetKind(), resource.GetName(), err))
			continue
		}
		objects = append(objects, object)
	}
	return objects, problems
}
