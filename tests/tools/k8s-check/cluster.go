package main

import (
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	core "k8s.io/api/core/v1"
)

// Cluster has the fields of CloudNativePG's Cluster that we use, by its reference for 1.28. Its own types are not on the module
// proxy, so this finds a field in the wrong place or with a wrong name, but not one that a later version has removed.
type Cluster struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata,omitempty"`
	Spec            struct {
		Instances             int    `json:"instances"`
		ImageName             string `json:"imageName,omitempty"`
		EnableSuperuserAccess *bool  `json:"enableSuperuserAccess,omitempty"`
		Bootstrap             struct {
			InitDB struct {
				Database               string                    `json:"database"`
				Owner                  string                    `json:"owner"`
				Secret                 core.LocalObjectReference `json:"secret"`
				Encoding               string                    `json:"encoding"`
				LocaleCollate          string                    `json:"localeCollate"`
				LocaleCType            string                    `json:"localeCType"`
				DataChecksums          *bool                     `json:"dataChecksums"`
				PostInitApplicationSQL []string                  `json:"postInitApplicationSQL"`
			} `json:"initdb"`
		} `json:"bootstrap"`
		PostgreSQL struct {
			Parameters  map[string]string `json:"parameters"`
			Synchronous *struct {
				Method         string `json:"method"`
				Number         int    `json:"number"`
				DataDurability string `json:"dataDurability"`
				FailoverQuorum bool   `json:"failoverQuorum,omitempty"`
			} `json:"synchronous,omitempty"`
		} `json:"postgresql"`
		Storage    Storage                   `json:"storage"`
		WALStorage *Storage                  `json:"walStorage,omitempty"`
		Resources  core.ResourceRequirements `json:"resources"`
		Affinity   struct {
			PodAntiAffinityType string `json:"podAntiAffinityType,omitempty"`
			TopologyKey         string `json:"topologyKey,omitempty"`
		} `json:"affinity,omitempty"`
	} `json:"spec"`
}

// Storage of an instance.
type Storage struct {
	Size         string `json:"size"`
	StorageClass string `json:"storageClass,omitempty"`
}

// DeepCopyObject is what a scheme asks of its types; nothing here copies one.
func (c *Cluster) DeepCopyObject() runtime.Object {
	copied := *c
	return &copied
}

func addCluster(scheme *runtime.Scheme) error {
	version := schema.GroupVersion{Group: "postgresql.cnpg.io", Version: "v1"}
	scheme.AddKnownTypeWithName(version.WithKind("Cluster"), &Cluster{})
	return nil
}
