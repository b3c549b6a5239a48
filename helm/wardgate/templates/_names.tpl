{{- define "wardgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* 50, so that the longest suffix still makes a name of 63. */}}
{{- define "wardgate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "wardgate.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "wardgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "wardgate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Host by which pods of the cluster reach the service: also a name in the certificate. */}}
{{- define "wardgate.host" -}}
{{ include "wardgate.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "wardgate.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "wardgate.fullname" . }}-tls{{ else }}{{ .Values.tls.existingSecret }}{{ end }}
{{- end }}

{{/* Of a component, as (list $ "server"). What a selector may not change on an upgrade stands in the first of the two. */}}
{{- define "wardgate.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "wardgate.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* With further ones, which change none of those above: (list $ "server" LABELS...). */}}
{{- define "wardgate.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "wardgate.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "wardgate" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- range rest (rest .) -}}{{- $own = merge $own . -}}{{- end -}}
{{- toYaml (merge $own $root.Values.commonLabels) -}}
{{- end }}

{{/* Name, namespace, labels and annotations, as (dict "root" $ "name" ... "component" ... "labels" ... "annotations" ...). */}}
{{- define "wardgate.metadata" -}}
name: {{ .name }}
namespace: {{ default .root.Release.Namespace .namespace }}
labels:
  {{- include "wardgate.labels" (list .root .component (default dict .labels)) | nindent 2 }}
{{- with merge dict (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* As (dict "root" $ "image" of the values); the registry is shared. */}}
{{- define "wardgate.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{- with .image -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.root.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}
