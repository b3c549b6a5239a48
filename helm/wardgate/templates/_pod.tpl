{{/* Secrets and ConfigMaps of the service, each with its folder. None is mounted by subPath: changes must arrive. */}}
{{- define "wardgate.mounts" -}}
{{- $name := include "wardgate.fullname" . -}}
{{- $mounts := list -}}
{{- if eq (include "wardgate.tls" .) "true" -}}
{{-   $items := list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key") -}}
{{-   $mounts = append $mounts (dict "name" "tls" "secret" (include "wardgate.tlsSecret" .) "path" "/etc/wardgate/secrets/tls" "items" $items) -}}
{{- end -}}
{{- range list
      (list "client-ca" .Values.tls.clientCA "ca.crt")
      (list "tokens" .Values.auth.tokens "tokens")
      (list "admin-tokens" .Values.auth.adminTokens "tokens")
      (list "upstream" .Values.upstream.apiKey "api-key")
      (list "store" .Values.store.password "password")
      (list "store-ca" .Values.store.ca "ca.crt") -}}
{{-   $from := index . 1 -}}
{{-   if $from.existingSecret -}}
{{-     $items := list (dict "key" $from.key "path" (index . 2)) -}}
{{-     $mounts = append $mounts (dict "name" (index . 0) "secret" $from.existingSecret "path" (printf "/etc/wardgate/secrets/%s" (index . 0)) "items" $items) -}}
{{-   end -}}
{{- end -}}
{{- with .Values.upstream.ca -}}
{{-   if or .existingSecret .existingConfigMap -}}
{{-     $items := list (dict "key" .key "path" "ca.crt") -}}
{{-     $mounts = append $mounts (dict "name" "upstream-ca" "secret" .existingSecret "configMap" .existingConfigMap "path" "/etc/wardgate/upstream-ca" "items" $items) -}}
{{-   end -}}
{{- end -}}
{{- range list (list "policies" .Values.policies) (list "calibrations" .Values.calibrations) (list "suites" .Values.probeSuites) -}}
{{-   $what := index . 0 -}}
{{-   if eq (include "wardgate.hasFiles" (index . 1)) "true" -}}
{{-     $mounts = append $mounts (dict "name" $what "configMap" (default (printf "%s-%s" $name $what) (index . 1).existingConfigMap) "path" (printf "/etc/wardgate/%s" $what)) -}}
{{-   end -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end }}

{{/* One health check, as (list $ SERVICE TIMINGS): SERVICE "liveness" asks whether the process lives, "" whether it wants
     traffic. */}}
{{- define "wardgate.healthCheck" -}}
{{- if eq (include "wardgate.healthProtocol" (index . 0)) "grpc" -}}
grpc: {port: 50051, service: {{ index . 1 | quote }}}
{{- else -}}
httpGet: {port: http, path: {{ ternary "/healthz" "/readyz" (eq (index . 1) "liveness") }}}
{{- end }}
{{ toYaml (index . 2) }}
{{- end }}

{{/* For a pod of ours that calls the service: options of the wardgate command, then its mounts and volumes. */}}
{{- define "wardgate.callerArguments" -}}
{{- $arguments := list "--server" (printf "%s:%d" (include "wardgate.host" .root) (int .root.Values.service.port)) -}}
{{- if eq (include "wardgate.tls" .root) "true" -}}
{{-   $arguments = concat $arguments (list "--ca-file" "/etc/wardgate/caller/ca/ca.crt") -}}
{{- end -}}
{{- if .token -}}{{- $arguments = concat $arguments (list "--token-file" "/etc/wardgate/caller/token/token") -}}{{- end -}}
{{- if .root.Values.tls.clientCA.ownSecret -}}
{{-   $arguments = concat $arguments (list "--certificate-file" "/etc/wardgate/caller/own/tls.crt" "--key-file" "/etc/wardgate/caller/own/tls.key") -}}
{{- end -}}
{{- toYaml $arguments -}}
{{- end }}

{{- define "wardgate.callerMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if eq (include "wardgate.tls" .root) "true" }}
- {name: ca, mountPath: /etc/wardgate/caller/ca, readOnly: true}
{{- end }}
{{- if .token }}
- {name: token, mountPath: /etc/wardgate/caller/token, readOnly: true}
{{- end }}
{{- if .root.Values.tls.clientCA.ownSecret }}
- {name: own, mountPath: /etc/wardgate/caller/own, readOnly: true}
{{- end }}
{{- end }}

{{- define "wardgate.callerVolumes" -}}
- name: tmp
  emptyDir: {}
{{- if eq (include "wardgate.tls" .root) "true" }}
- name: ca
  secret:
    secretName: {{ include "wardgate.tlsSecret" .root }}
    defaultMode: 0440
    items: [{key: {{ .root.Values.tls.caKey }}, path: ca.crt}]
{{- end }}
{{- with .token }}
- name: token
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .key }}, path: token}]
{{- end }}
{{- with .root.Values.tls.clientCA.ownSecret }}
- name: own
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
