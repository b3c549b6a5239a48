{{/* wardgate.yaml: `config`, and what the chart knows better. */}}
{{- define "wardgate.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $own := dict "grpc" (dict "host" "0.0.0.0" "port" 50051) "http" (dict "host" "0.0.0.0" "port" 9464) -}}
{{- $cores := include "wardgate.cores" . | int -}}
{{- $backend := default dict $config.backend -}}
{{- if eq (include "wardgate.tls" .) "true" -}}
{{-   $tls := dict "certificate_file" "/etc/wardgate/secrets/tls/tls.crt" "key_file" "/etc/wardgate/secrets/tls/tls.key" -}}
{{-   if .Values.tls.clientCA.existingSecret -}}{{- $_ := set $tls "client_ca_file" "/etc/wardgate/secrets/client-ca/ca.crt" -}}{{- end -}}
{{-   $_ := set $own.grpc "tls" $tls -}}
{{- end -}}
{{- if .Values.auth.tokens.existingSecret -}}{{- $_ := set $own.grpc "tokens_file" "/etc/wardgate/secrets/tokens/tokens" -}}{{- end -}}
{{- if .Values.auth.adminTokens.existingSecret -}}{{- $_ := set $own.grpc "admin_tokens_file" "/etc/wardgate/secrets/admin-tokens/tokens" -}}{{- end -}}
{{- $files := dict -}}
{{- if .Values.upstream.apiKey.existingSecret -}}{{- $_ := set $files "api_key_file" "/etc/wardgate/secrets/upstream/api-key" -}}{{- end -}}
{{- if or .Values.upstream.ca.existingConfigMap .Values.upstream.ca.existingSecret -}}{{- $_ := set $files "ca_file" "/etc/wardgate/upstream-ca/ca.crt" -}}{{- end -}}
{{- if $files -}}{{- $_ := set $own "backend" $files -}}{{- end -}}
{{- $store := dict "url" (default "sqlite:////var/lib/wardgate/wardgate.db" .Values.store.url) -}}
{{- if .Values.store.password.existingSecret -}}{{- $_ := set $store "password_file" "/etc/wardgate/secrets/store/password" -}}{{- end -}}
{{- $_ := set $own "store" $store -}}
{{- if eq (include "wardgate.hasFiles" .Values.policies) "true" -}}{{- $_ := set $own "policies" (dict "directory" "/etc/wardgate/policies") -}}{{- end -}}
{{- if eq (include "wardgate.hasFiles" .Values.calibrations) "true" -}}{{- $_ := set $own "calibrations" (dict "directory" "/etc/wardgate/calibrations") -}}{{- end -}}
{{- if eq (include "wardgate.hasFiles" .Values.probeSuites) "true" -}}{{- $_ := set $own "probing" (dict "suites" "/etc/wardgate/suites") -}}{{- end -}}
{{- if .Values.rollout.enabled -}}{{- $_ := set $own "rollout" (dict "directory" "/var/lib/wardgate/versions") -}}{{- end -}}
{{- if .Values.modelCache.enabled -}}{{- $_ := set $own "model_cache" "/var/cache/wardgate/models" -}}{{- end -}}
{{- if $cores -}}
{{-   $scoring := default dict $config.scoring -}}
{{-   if not (hasKey $scoring "workers") -}}{{- $_ := set $own "scoring" (dict "workers" $cores) -}}{{- end -}}
{{-   if and (eq (default "" $backend.kind) "transformers") (eq (default "cpu" $backend.device) "cpu") (not (hasKey $backend "threads")) -}}
{{-     $_ := set $own "backend" (dict "threads" $cores) -}}
{{-   end -}}
{{-   range $config.models -}}
{{-     if and (eq (default "cpu" .device) "cpu") (not (hasKey . "threads")) -}}
{{-       $_ := set . "threads" (max 1 (div $cores (default 1 .workers | int)) | int) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config $own) -}}
{{- end }}

{{/* Whole cores of the container, rounded up: of its limit, else of its request; 0 where neither is said. */}}
{{- define "wardgate.cores" -}}
{{- $cpu := toString (default (dig "requests" "cpu" "" .Values.resources) (dig "limits" "cpu" "" .Values.resources)) -}}
{{- if hasSuffix "m" $cpu -}}
{{- ceil (divf (trimSuffix "m" $cpu | float64) 1000) | int -}}
{{- else if $cpu -}}
{{- ceil (float64 $cpu) | int -}}
{{- else -}}
0
{{- end -}}
{{- end }}

{{- define "wardgate.tls" -}}
{{- if or .Values.tls.existingSecret .Values.tls.certManager.enabled }}true{{ end }}
{{- end }}

{{/* Of policies, calibrations or suites: whether there are any. */}}
{{- define "wardgate.hasFiles" -}}
{{- if or .files .existingConfigMap }}true{{ end }}
{{- end }}

{{/* The data of a ConfigMap, from files by text or by mapping. */}}
{{- define "wardgate.filesData" -}}
{{- range $name, $content := . }}
{{ $name }}: |
  {{- if kindIs "string" $content }}
  {{- $content | nindent 2 }}
  {{- else if hasSuffix ".json" $name }}
  {{- toPrettyJson $content | nindent 2 }}
  {{- else }}
  {{- toYaml $content | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "wardgate.replicasMost" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}
{{- else if .Values.keda.enabled }}{{ .Values.keda.maxReplicas }}
{{- else }}{{ .Values.replicaCount }}
{{- end }}
{{- end }}

{{/* "true" where the pod has a volume that one node alone can hold. */}}
{{- define "wardgate.oneNode" -}}
{{- $cache := and .Values.modelCache.enabled (not .Values.modelCache.ephemeral) (not .Values.modelCache.existingClaim) (not (has "ReadWriteMany" .Values.modelCache.accessModes)) -}}
{{- if or $cache .Values.store.persistence.enabled }}true{{ end }}
{{- end }}

{{- define "wardgate.healthProtocol" -}}
{{- if eq .Values.healthChecks.protocol "auto" -}}
{{- ternary "http" "grpc" (eq (include "wardgate.tls" .) "true") -}}
{{- else -}}
{{- .Values.healthChecks.protocol -}}
{{- end -}}
{{- end }}

{{/* A port out of a URL, as (list URL DEFAULT). */}}
{{- define "wardgate.portOf" -}}
{{- $authority := (urlParse (index . 0)).host -}}
{{- default (index . 1) (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $authority)) -}}
{{- end }}
