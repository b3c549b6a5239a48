{{/* Values that contradict each other. Each message names the values and the mend. */}}
{{- define "wardgate.validate" -}}
{{- $tls := eq (include "wardgate.tls" .) "true" -}}
{{- $backend := default dict .Values.config.backend -}}
{{- $openai := eq (default "transformers" $backend.kind) "openai" -}}
{{- $postgres := hasPrefix "postgresql://" .Values.store.url -}}
{{- $several := gt (include "wardgate.replicasMost" . | int) 1 -}}

{{- if and .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- fail "autoscaling.enabled and keda.enabled: both would set the replicas; take one" -}}
{{- end -}}
{{- if and $several (not $postgres) -}}
{{- fail "several replicas (replicaCount, autoscaling or keda) need a store that they share: set store.url to postgresql://USER@HOST/DATABASE, or replicaCount to 1" -}}
{{- end -}}
{{- range list .Values.autoscaling .Values.keda -}}
{{-   if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{-     fail "minReplicas is over maxReplicas" -}}
{{-   end -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{-   if not (or .Values.autoscaling.targetCPUUtilizationPercentage .Values.autoscaling.podMetrics) -}}
{{-     fail "autoscaling: set targetCPUUtilizationPercentage or podMetrics; there is nothing to scale by" -}}
{{-   end -}}
{{-   if and .Values.autoscaling.targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" .Values.resources)) -}}
{{-     fail "autoscaling.targetCPUUtilizationPercentage is a share of resources.requests.cpu: set that" -}}
{{-   end -}}
{{- end -}}
{{- if and .Values.keda.enabled (not .Values.keda.prometheus.serverAddress) -}}
{{- fail "keda.prometheus.serverAddress: say where Prometheus is, as http://prometheus.monitoring:9090" -}}
{{- end -}}

{{- if and .Values.tls.existingSecret .Values.tls.certManager.enabled -}}
{{- fail "tls.existingSecret and tls.certManager.enabled: take one" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name: say who issues the certificate" -}}
{{- end -}}
{{- if and .Values.tls.clientCA.existingSecret (not $tls) -}}
{{- fail "tls.clientCA.existingSecret needs tls.existingSecret or tls.certManager.enabled" -}}
{{- end -}}
{{- if and .Values.tls.clientCA.ownSecret (not .Values.tls.clientCA.existingSecret) -}}
{{- fail "tls.clientCA.ownSecret is for mutual TLS: set tls.clientCA.existingSecret" -}}
{{- end -}}
{{- if and (or .Values.auth.tokens.existingSecret .Values.auth.adminTokens.existingSecret) (not $tls) -}}
{{- fail "auth.tokens and auth.adminTokens without TLS would send tokens in the clear: set tls.existingSecret or tls.certManager.enabled" -}}
{{- end -}}
{{- if and $tls (eq .Values.healthChecks.protocol "grpc") -}}
{{- fail "healthChecks.protocol: grpc does not work with TLS, which Kubernetes' gRPC checks do not speak; take auto or http" -}}
{{- end -}}

{{- if and .Values.upstream.apiKey.existingSecret (not $openai) -}}
{{- fail "upstream.apiKey.existingSecret is for config.backend.kind: openai" -}}
{{- end -}}
{{- if and (or .Values.upstream.ca.existingSecret .Values.upstream.ca.existingConfigMap) (not (hasPrefix "https://" (default "" $backend.base_url))) -}}
{{- fail "upstream.ca is for a config.backend.base_url that begins with https://" -}}
{{- end -}}
{{- if and .Values.upstream.ca.existingSecret .Values.upstream.ca.existingConfigMap -}}
{{- fail "upstream.ca.existingSecret and upstream.ca.existingConfigMap: take one" -}}
{{- end -}}

{{- if and $postgres (regexMatch "^postgresql://[^/@]*:[^/@]*@" .Values.store.url) -}}
{{- fail "store.url holds a password, which would be shown with it: put it in a Secret and name that in store.password.existingSecret" -}}
{{- end -}}
{{- if and .Values.store.password.existingSecret (not $postgres) -}}
{{- fail "store.password.existingSecret goes with a store.url of postgresql://" -}}
{{- end -}}
{{- if and .Values.store.ca.existingSecret (not $postgres) -}}
{{- fail "store.ca.existingSecret goes with a store.url of postgresql://" -}}
{{- end -}}
{{- if and $postgres .Values.store.persistence.enabled -}}
{{- fail "store.persistence is for SQLite; with a store.url of postgresql:// set store.persistence.enabled to false" -}}
{{- end -}}
{{- if and .Values.store.persistence.existingClaim (not .Values.store.persistence.enabled) -}}
{{- fail "store.persistence.existingClaim needs store.persistence.enabled" -}}
{{- end -}}

{{- range $what := list "policies" "calibrations" "probeSuites" -}}
{{-   $from := index $.Values $what -}}
{{-   if and $from.files $from.existingConfigMap -}}
{{-     fail (printf "%s.files and %s.existingConfigMap: take one" $what $what) -}}
{{-   end -}}
{{- end -}}

{{- if and .Values.modelCache.existingClaim (not .Values.modelCache.enabled) -}}
{{- fail "modelCache.existingClaim needs modelCache.enabled" -}}
{{- end -}}
{{- if and .Values.modelCache.ephemeral .Values.modelCache.existingClaim -}}
{{- fail "modelCache.ephemeral and modelCache.existingClaim: take one" -}}
{{- end -}}
{{- if and .Values.modelCache.ephemeral (not .Values.modelCache.pull.enabled) -}}
{{- fail "modelCache.ephemeral needs modelCache.pull.enabled: nothing else would fill it" -}}
{{- end -}}
{{- if and $several (eq (include "wardgate.oneNode" .) "true") -}}
{{- fail "modelCache.accessModes: several replicas need ReadWriteMany, or a claim of yours that all nodes can mount: modelCache.existingClaim" -}}
{{- end -}}
{{- if and (eq (include "wardgate.oneNode" .) "true") (eq (default "" .Values.strategy.type) "RollingUpdate") -}}
{{- fail "strategy.type: RollingUpdate would start a second pod while the first holds the volume of one node; leave strategy empty" -}}
{{- end -}}
{{- if and .Values.rollout.existingClaim (not .Values.rollout.enabled) -}}
{{- fail "rollout.existingClaim needs rollout.enabled" -}}
{{- end -}}
{{- if and .Values.rollout.enabled (not .Values.auth.adminTokens.existingSecret) -}}
{{- fail "rollout.enabled needs auth.adminTokens.existingSecret: without it nobody may change what serves" -}}
{{- end -}}

{{- $grpc := default dict .Values.config.grpc -}}
{{- $needed := add .Values.lifecycle.preStopSleepSeconds (ceil (float64 (default 20 $grpc.drain_s))) (ceil (float64 (default 0 $grpc.shutdown_delay_s))) 5 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $needed) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d and must be %d or more: lifecycle.preStopSleepSeconds + config.grpc.drain_s + config.grpc.shutdown_delay_s + 5 to close" (int .Values.terminationGracePeriodSeconds) (int $needed)) -}}
{{- end -}}

{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) -}}
{{- fail "grpcRoute.parentRefs: say which Gateway the route hangs on" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled: both would read the same metrics; take one" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled; or take metrics.podMonitor" -}}
{{- end -}}

{{- if .Values.probeCronJobs -}}
{{-   if not .Values.auth.adminTokens.existingSecret -}}
{{-     fail "probeCronJobs need auth.adminTokens.existingSecret: only an admin may begin a run" -}}
{{-   end -}}
{{-   if and .Values.tls.clientCA.existingSecret (not .Values.tls.clientCA.ownSecret) -}}
{{-     fail "probeCronJobs with mutual TLS need a client certificate of their own: tls.clientCA.ownSecret" -}}
{{-   end -}}
{{-   $seen := dict -}}
{{-   range .Values.probeCronJobs -}}
{{-     if hasKey $seen .name -}}{{- fail (printf "probeCronJobs: two are named %s" .name) -}}{{- end -}}
{{-     $_ := set $seen .name true -}}
{{-     $job := . -}}
{{-     range (dig "probing" "schedules" list $.Values.config) -}}
{{-       if and (eq .suite $job.suite) (eq (default "" .policy) (default "" $job.policy)) -}}
{{-         fail (printf "probeCronJobs and config.probing.schedules both run the suite %s of the same policy; take one" .suite) -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}

{{- range .Values.extraEnv -}}
{{-   if regexMatch "(?i)^WARDGATE_(GRPC__(HOST|PORT)|HTTP__(HOST|PORT)|STORE__URL|MODEL_CACHE)$" .name -}}
{{-     fail (printf "extraEnv: %s is the chart's to set" .name) -}}
{{-   end -}}
{{- end -}}
{{- end }}
