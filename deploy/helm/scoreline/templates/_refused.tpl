{{/* What cannot go well is refused, with what to do. */}}
{{- define "scoreline.refused" -}}
{{- if not .Values.models -}}
{{- fail "models: name what is served, as --set 'models={models:/Churn@champion}'" -}}
{{- end -}}
{{- if not (or .Values.trust.keys (and .Values.trust.configMap .Values.trust.files)) -}}
{{- fail "trust: no bundle is trusted without a public key; give one with --set-file trust.keys.signing\\.pub=signing.pub, or trust.configMap and trust.files" -}}
{{- end -}}
{{- if ne (eq .Values.trust.configMap "") (empty .Values.trust.files) -}}
{{- fail "trust.configMap and trust.files go together: a ConfigMap, and which of its keys are public keys" -}}
{{- end -}}
{{- $hasDatabase := hasKey .Values.secrets "records.database" -}}
{{- $most := include "scoreline.most" . | int -}}
{{- if and (not $hasDatabase) (gt $most 1) -}}
{{- fail (printf "SQLite is for one replica, and there may be %d: give the URL of a PostgreSQL database by secrets.\"records.database\": {name: SECRET, key: KEY}, or replicas: 1 without autoscaling" $most) -}}
{{- end -}}
{{- if not (or $hasDatabase .Values.persistence.enabled .Values.recordMayBeLost) -}}
{{- fail "the record is in SQLite in an emptyDir, which is deleted with its pod: give secrets.\"records.database\" (PostgreSQL), or persistence.enabled: true, or accept it with recordMayBeLost: true" -}}
{{- end -}}
{{- if and $hasDatabase (or (gt $most 1) (not .Values.persistence.enabled)) -}}
{{- if not (hasKey .Values.secrets "records.entity_key") -}}
{{- fail "pods that share a database share the key that entities are hashed with: make one (openssl rand -hex 32), and give its Secret by secrets.\"records.entity_key\": {name: SECRET, key: KEY}" -}}
{{- end -}}
{{- if not .Values.auditKey.name -}}
{{- fail "pods that share a database share the key that checkpoints are signed with: make one (scoreline keygen --out audit), and give its Secret by auditKey.name and auditKey.key" -}}
{{- end -}}
{{- end -}}
{{- $settings := .Values.settings -}}
{{- $access := $settings.access | default dict -}}
{{- $oauth := $settings.oauth | default dict -}}
{{- if not (or (hasKey .Values.secrets "access.admin_key") $hasDatabase $access.anonymous $oauth.issuer) -}}
{{- fail "nobody needs a key: give secrets.\"access.admin_key\": {name: SECRET, key: KEY}, or settings.oauth.issuer, or choose settings.access.anonymous: [predict] explicitly" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.serviceMonitor.key.name) (not (has "metrics" ($access.anonymous | default list))) -}}
{{- fail "serviceMonitor: metrics need the scope `metrics`: make a key (scoreline keys create prometheus --scope metrics), and give its Secret by serviceMonitor.key.name, or choose settings.access.anonymous: [metrics]" -}}
{{- end -}}
{{- $segment := ($settings.records | default dict).segment_bytes | default 67108864 | int64 -}}
{{- if lt (include "scoreline.maxBytes" . | int64) (mul 2 $segment) -}}
{{- fail (printf "spool.size: %s is too little: 80 %% of it has to hold two segments (settings.records.segment_bytes) of %d bytes" .Values.spool.size $segment) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: at most autoscaling.maxReplicas" -}}
{{- end -}}
{{- if eq (int .Values.ports.data) (int .Values.ports.control) -}}
{{- fail "ports.data and ports.control: two ports" -}}
{{- end -}}
{{- end -}}
