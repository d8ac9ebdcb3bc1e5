package spec

import "strings"

// habits says what to write instead of what people know from Kubernetes, Docker
// and Compose. Its keys are paths of fields that specs do not have, or a path and the
// type of a value that is wrong there. Letters of either case, - and _ count the same.
// A field that another part of a spec has by the same name needs no line here.
var habits = canonical(map[string]string{
	// The container.
	"spec.containers":       "a workspace is one container: write its image, command, args, env, user and workingDir below spec",
	"spec.initContainers":   "a workspace is one container: do this in its command, or in another workspace",
	"spec.template":         "write image, command, args and env below spec, and one document for each workspace",
	"spec.replicas":         "write one document of kind Workspace for each",
	"spec.container_name":   "write it as metadata.name",
	"spec.hostname":         "leave it out: metadata.name is the host name of the workspace",
	"spec.entrypoint":       "write command: [program, argument]",
	"spec.cmd":              "write args: [argument], or command: [program, argument] to replace the entrypoint too",
	"spec.build":            "build the image first, then write image: registry/name:tag or image: oci-archive:./file.tar",
	"spec.pull_policy":      "write imagePullPolicy: Always, IfNotPresent or Never",
	"spec.imagePullSecrets": "run docker login on the host: carrel uses its credentials",
	"spec.platform":         "leave it out: carrel takes the image for the platform of the host",
	"spec.working_dir":      "write workingDir: /work",
	"spec.tty":              "leave it out: workspaces have no terminal",
	"spec.stdin":            "leave it out: workspaces have no standard input",
	"spec.stdin_open":       "leave it out: workspaces have no standard input",
	"spec.scale":            "write one document of kind Workspace for each",
	"spec.extends":          "write what workspaces have in common as the defaults of a WorkspaceSet",
	"spec.profiles":         "write such workspaces into a folder of their own, and load it when you want them",
	"spec.init":             "leave it out, and use an image whose program reaps its children, such as tini",

	// The environment.
	"spec.environment":     "write env: [{name: A, value: b}]",
	"spec.env_file":        "write env: [{name: A, value: b}]",
	"spec.envFrom":         "write env: [{name: A, value: b}]",
	"spec.secrets":         "write env: [{name: A, value: b}], or mount a file: mounts: [{source: /etc/bot.key, target: /run/bot.key, readOnly: true}]",
	"spec.configs":         "mount a file: mounts: [{source: /etc/bot.conf, target: /etc/bot.conf, readOnly: true}]",
	"spec.env[].key":       "write {name: A, value: b}",
	"spec.env: object":     "write a list: [{name: A, value: b}]",
	"spec.env[]: string":   "write {name: A, value: b}",
	"spec.env[].valueFrom": "write value: b",

	// Data.
	"spec.volumes":              "the data is in dataPath: /data; write mounts: [{source: /on/the/host, target: /in/the/container}] for folders of the host",
	"spec.volumeMounts":         "the data is in dataPath: /data; write mounts: [{source: /on/the/host, target: /in/the/container}] for folders of the host",
	"spec.tmpfs":                "leave it out: use /tmp of the container, or its dataPath",
	"spec.read_only":            "leave it out: the root filesystem can be written",
	"spec.mounts[]: string":     "write {source: /on/the/host, target: /in/the/container, readOnly: true}",
	"spec.mounts[].type":        "leave it out: every mount is a file or a folder of the host",
	"spec.mounts[].name":        "write source: /on/the/host",
	"spec.mounts[].mountPath":   "write target: /in/the/container",
	"spec.mounts[].hostPath":    "write source: /on/the/host",
	"spec.mounts[].destination": "write target: /in/the/container",

	// Starting and stopping.
	"spec.restart":                       "leave it out: carrel watch runs again what ended, unless autoStart: false is written",
	"spec.restartPolicy":                 "leave it out: carrel watch runs again what ended, unless autoStart: false is written",
	"spec.depends_on":                    "leave it out: workspaces start side by side, so let the program wait for what it needs",
	"spec.healthcheck":                   "leave it out: carrel watches whether the process runs, so let the program exit when it is not healthy",
	"spec.livenessProbe":                 "leave it out: carrel watches whether the process runs, so let the program exit when it is not healthy",
	"spec.readinessProbe":                "leave it out: carrel watches whether the process runs, so let the program exit when it is not healthy",
	"spec.startupProbe":                  "leave it out: carrel watches whether the process runs, so let the program exit when it is not healthy",
	"spec.lifecycle":                     "write stop: {signal: SIGTERM, gracePeriod: 10s}",
	"spec.stop_signal":                   "write stop: {signal: SIGTERM}",
	"spec.stopSignal":                    "write stop: {signal: SIGTERM}",
	"spec.stop_grace_period":             "write stop: {gracePeriod: 10s}",
	"spec.stopTimeout":                   "write stop: {gracePeriod: 10s}",
	"spec.terminationGracePeriodSeconds": "write stop: {gracePeriod: 10s}",
	"spec.stop: string":                  "write {signal: SIGTERM, gracePeriod: 10s}",
	"spec.stop.timeout":                  "write gracePeriod: 10s",

	// The network.
	"spec.ports":                         "write network: {ports: [{host: 8080, container: 80}]}",
	"spec.expose":                        "write network: {ports: [{host: 8080, container: 80}]}; workspaces of a set reach each other without it",
	"spec.networks":                      "write network: {mode: cni}, host or none; workspaces of a set reach each other by name",
	"spec.network_mode":                  "write network: {mode: host}, or cni or none",
	"spec.hostNetwork":                   "write network: {mode: host}",
	"spec.links":                         "leave it out: workspaces of a set reach each other by name",
	"spec.extra_hosts":                   "leave it out: workspaces of a set reach each other by name",
	"spec.hostAliases":                   "leave it out: workspaces of a set reach each other by name",
	"spec.dns":                           "leave it out: workspaces use the name servers of the host",
	"spec.dnsPolicy":                     "leave it out: workspaces use the name servers of the host",
	"spec.dnsConfig":                     "leave it out: workspaces use the name servers of the host",
	"spec.network: string":               "write {mode: host}, or cni or none",
	"spec.network.name":                  "write mode: cni, host or none",
	"spec.network.ports[]: string":       "write {host: 8080, container: 80}",
	"spec.network.ports[]: number":       "write {host: 8080, container: 80}",
	"spec.network.ports[].containerPort": "write container: 80",
	"spec.network.ports[].target":        "write container: 80",
	"spec.network.ports[].targetPort":    "write container: 80",
	"spec.network.ports[].hostPort":      "write host: 8080",
	"spec.network.ports[].published":     "write host: 8080",
	"spec.network.ports[].port":          "write {host: 8080, container: 80}",
	"spec.network.ports[].host_ip":       "write hostIP: 127.0.0.1",

	// Resources and devices.
	"spec.cpus":                               `write resources: {limits: {cpu: "2"}}`,
	"spec.cpu":                                `write resources: {limits: {cpu: "2"}}`,
	"spec.memory":                             "write resources: {limits: {memory: 4Gi}}",
	"spec.mem_limit":                          "write resources: {limits: {memory: 4Gi}}",
	"spec.pids_limit":                         "write resources: {limits: {pids: 512}}",
	"spec.limits":                             `write resources: {limits: {cpu: "2", memory: 4Gi, pids: 512}}`,
	"spec.deploy":                             `write resources: {limits: {cpu: "2", memory: 4Gi, pids: 512}}, and devices: [nvidia.com/gpu=0]`,
	"spec.gpu":                                "write devices: [nvidia.com/gpu=0], or nvidia.com/gpu=all; carrel devices lists those of this host",
	"spec.gpus":                               "write devices: [nvidia.com/gpu=0], or nvidia.com/gpu=all; carrel devices lists those of this host",
	"spec.runtime":                            "write devices: [nvidia.com/gpu=0] for a GPU; carrel devices lists those of this host",
	"spec.devices[]: object":                  "write vendor/class=name, such as nvidia.com/gpu=0",
	"spec.resources.requests":                 "write limits: carrel reserves nothing",
	"spec.resources.reservations":             "write limits: carrel reserves nothing",
	"spec.resources.cpu":                      `write limits: {cpu: "2"}`,
	"spec.resources.cpus":                     `write limits: {cpu: "2"}`,
	"spec.resources.memory":                   "write limits: {memory: 4Gi}",
	"spec.resources.limits.cpus":              `write cpu: "2"`,
	"spec.resources.limits.nvidia.com/gpu":    "write spec.devices: [nvidia.com/gpu=0], or nvidia.com/gpu=all",
	"spec.resources.limits.amd.com/gpu":       "write spec.devices: [amd.com/gpu=0], or amd.com/gpu=all",
	"spec.resources.limits.ephemeral-storage": "leave it out: carrel limits cpu, memory and pids",

	// Rights.
	"spec.privileged":         "leave it out: name what the workspace needs in devices: [vendor/class=name] and mounts: [{source: /a, target: /b}]",
	"spec.cap_add":            "leave it out: workspaces have a fixed set of capabilities",
	"spec.cap_drop":           "leave it out: workspaces have a fixed set of capabilities",
	"spec.capabilities":       "leave it out: workspaces have a fixed set of capabilities",
	"spec.sysctls":            "leave it out: workspaces have the settings of the kernel that are usual for containers",
	"spec.serviceAccount":     "leave it out: specs have no accounts",
	"spec.serviceAccountName": "leave it out: specs have no accounts",
	"spec.security_opt":       "leave it out: workspaces have the default seccomp profile and no new privileges",
	"spec.securityContext":    `write user: "1000:1000"; the other rights of workspaces are fixed`,
	"spec.runAsUser":          `write user: "1000:1000"`,
	"spec.runAsGroup":         `write user: "1000:1000"`,
	"spec.group_add":          `write user: "1000:1000"`,

	// Where it runs, and what it is called.
	"spec.nodeName":          "write host: gpu-01",
	"spec.nodeSelector":      "write host: gpu-01",
	"spec.affinity":          "write host: gpu-01",
	"spec.tolerations":       "write host: gpu-01",
	"spec.annotations":       "write it as metadata.annotations",
	"spec.logging":           "leave it out: the output is in the state dir, in logs/NAME.log",
	"metadata.labels: array": "write {key: value}",
})

// canonical has the keys as hint looks for them.
func canonical(texts map[string]string) map[string]string {
	all := make(map[string]string, len(texts))
	for what, text := range texts {
		all[plain(what)] = text
	}
	return all
}

// plain is a name in the form that its spellings have in common.
func plain(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}

// hint says what to write instead of something that specs do not have. What stands
// beside spec was meant to stand in it.
func hint(what string) string {
	what = plain(strings.Replace(what, "spec.defaults", "spec", 1))
	if text := habits[what]; text != "" || strings.Contains(what, ".") {
		return text
	}
	return habits["spec."+what]
}
