{{- define "scoreline.name" -}}
{{- if .Values.nameOverride -}}
{{- .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "scoreline" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-scoreline" (.Release.Name | trunc 40 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "scoreline.selector" -}}
app.kubernetes.io/name: scoreline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scoreline.labels" -}}
{{ include "scoreline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "scoreline.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else -}}
{{- ternary (include "scoreline.name" .) "default" .Values.serviceAccount.create -}}
{{- end -}}
{{- end -}}

{{- define "scoreline.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scoreline.kind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.persistence.enabled -}}
{{- end -}}

{{- define "scoreline.scheme" -}}
{{- ternary "https" "http" (ne .Values.tls.secret "") -}}
{{- end -}}

{{/* The most pods there may be. */}}
{{- define "scoreline.most" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled | int -}}
{{- end -}}

{{/* A size as Kubernetes writes it, in bytes. */}}
{{- define "scoreline.bytes" -}}
{{- $units := dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $unit := regexFind "[A-Z]i$" . -}}
{{- mul (trimSuffix $unit . | int64) (get $units $unit) -}}
{{- end -}}

{{/* 80 % of the spool: it is looked at once a second, and a pod whose emptyDir is over its limit is evicted. */}}
{{- define "scoreline.maxBytes" -}}
{{- div (mul (include "scoreline.bytes" .Values.spool.size | int64) 8) 10 -}}
{{- end -}}

{{/* From SIGTERM until the workers have gone and the spool is shipped, at most; 2 s are the supervisor's own. */}}
{{- define "scoreline.drainedSeconds" -}}
{{- with .Values.drain -}}
{{- add .delaySeconds .seconds 2 .shipSeconds -}}
{{- end -}}
{{- end -}}

{{/* The files of trusted keys, in the pod. */}}
{{- define "scoreline.trusted" -}}
{{- $files := list -}}
{{- range $name, $_ := .Values.trust.keys -}}
{{- $files = append $files (printf "/etc/scoreline/trust/%s" $name) -}}
{{- end -}}
{{- range .Values.trust.files -}}
{{- $files = append $files (printf "/etc/scoreline/trusted/%s" .) -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* The settings of values and those that the chart derives, as JSON. */}}
{{- define "scoreline.settings" -}}
{{- $server := dict
      "host" .Values.host
      "admin_host" .Values.host
      "port" (int .Values.ports.data)
      "admin_port" (int .Values.ports.control)
      "drain_delay_ms" (mul .Values.drain.delaySeconds 1000)
      "drain_ms" (mul .Values.drain.seconds 1000) -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $server "tls_cert" "/etc/scoreline/tls/tls.crt" -}}
{{- $_ := set $server "tls_key" "/etc/scoreline/tls/tls.key" -}}
{{- end -}}
{{- $records := dict "max_bytes" (include "scoreline.maxBytes" . | int64) -}}
{{- if .Values.auditKey.name -}}
{{- $_ := set $records "audit_key" "/etc/scoreline/audit/audit.key" -}}
{{- end -}}
{{- $derived := dict
      "server" $server
      "records" $records
      "registry" (dict "folder" .Values.bundles.path)
      "trust" (dict "keys" (include "scoreline.trusted" . | fromJsonArray)) -}}
{{- mergeOverwrite (deepCopy .Values.settings) $derived | toJson -}}
{{- end -}}

{{/* scoreline.toml. What JSON writes of a text, a number, a truth or a list of these is TOML, too. */}}
{{- define "scoreline.toml" -}}
state_dir = "/var/lib/scoreline"
{{- range $section, $options := include "scoreline.settings" . | fromJson }}

[{{ $section }}]
{{- range $name, $value := $options }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ toRawJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{ end -}}

{{- define "scoreline.probe" -}}
httpGet:
  path: /healthz/{{ .route }}
  port: {{ .port }}
  scheme: {{ include "scoreline.scheme" .root | upper }}
{{- end -}}

{{/* What both containers have alike. */}}
{{- define "scoreline.container" -}}
image: {{ include "scoreline.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: SCORELINE_CONFIG
    value: /etc/scoreline/config/scoreline.toml
  {{- range $setting, $from := .Values.secrets }}
  - name: SCORELINE_{{ $setting | upper | replace "." "__" }}
    valueFrom:
      secretKeyRef:
        name: {{ $from.name }}
        key: {{ $from.key }}
  {{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - {name: config, mountPath: /etc/scoreline/config, readOnly: true}
  {{- if .Values.trust.keys }}
  - {name: trust, mountPath: /etc/scoreline/trust, readOnly: true}
  {{- end }}
  {{- if .Values.trust.configMap }}
  - {name: trusted, mountPath: /etc/scoreline/trusted, readOnly: true}
  {{- end }}
  {{- if .Values.auditKey.name }}
  - {name: audit, mountPath: /etc/scoreline/audit, readOnly: true}
  {{- end }}
  {{- if .Values.tls.secret }}
  - {name: tls, mountPath: /etc/scoreline/tls, readOnly: true}
  {{- end }}
  {{- if .Values.bundles.volume }}
  - {name: bundles, mountPath: {{ .Values.bundles.path }}, readOnly: true}
  {{- end }}
  - {name: state, mountPath: /var/lib/scoreline}
  - {name: spool, mountPath: /var/lib/scoreline/spool}
  - {name: shared, mountPath: /var/lib/scoreline/shared}
  - {name: tmp, mountPath: /tmp}
{{- end -}}
