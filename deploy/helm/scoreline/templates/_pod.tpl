{{- define "scoreline.pod" -}}
metadata:
  labels:
    {{- include "scoreline.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: workers
    checksum/config: {{ list (include "scoreline.toml" .) .Values.trust.keys | toJson | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "scoreline.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Drained and shipped, then 10 s for the steward's own end.
  terminationGracePeriodSeconds: {{ add (include "scoreline.drainedSeconds" .) 10 }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    {{- if .Values.user }}
    runAsUser: {{ int .Values.user }}
    {{- end }}
    {{- if .Values.group }}
    runAsGroup: {{ int .Values.group }}
    fsGroup: {{ int .Values.group }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "scoreline.selector" $ | nindent 10 }}
      {{- if not $.Values.persistence.enabled }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  containers:
    # On SIGTERM its workers are not ready at once, go on taking connections for drain.delaySeconds, finish them, and end.
    - name: workers
      command: [scoreline, serve, --no-steward]
      args:
        {{- with .Values.defaultModel }}
        - --default={{ . }}
        {{- end }}
        {{- toYaml .Values.models | nindent 8 }}
      {{- include "scoreline.container" . | nindent 6 }}
      ports:
        - {name: data, containerPort: {{ int .Values.ports.data }}}
      startupProbe:
        {{- include "scoreline.probe" (dict "route" "startup" "port" "data" "root" .) | nindent 8 }}
        periodSeconds: 1
        timeoutSeconds: 2
        failureThreshold: {{ int .Values.startupSeconds }}
      readinessProbe:
        {{- include "scoreline.probe" (dict "route" "ready" "port" "data" "root" .) | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        {{- include "scoreline.probe" (dict "route" "live" "port" "data" "root" .) | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      resources:
        {{- toYaml .Values.workers.resources | nindent 8 }}
    # It has no readiness of its own: while it is away, workers answer and record, and nothing is lost.
    - name: steward
      command: [scoreline, steward]
      args:
        {{- toYaml .Values.models | nindent 8 }}
      {{- include "scoreline.container" . | nindent 6 }}
      ports:
        - {name: control, containerPort: {{ int .Values.ports.control }}}
      startupProbe:
        {{- include "scoreline.probe" (dict "route" "startup" "port" "control" "root" .) | nindent 8 }}
        periodSeconds: 1
        timeoutSeconds: 2
        failureThreshold: {{ int .Values.startupSeconds }}
      # It may be asked for pages that take a while; the grace is its own, for a pod whose workers stay.
      livenessProbe:
        {{- include "scoreline.probe" (dict "route" "live" "port" "control" "root" .) | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
        terminationGracePeriodSeconds: 10
      # Both containers are told to end at once: this one waits until the workers have, and what they recorded is shipped.
      lifecycle:
        preStop:
          exec:
            command: [scoreline, drained, --wait-s, {{ include "scoreline.drainedSeconds" . | quote }}]
      resources:
        {{- toYaml .Values.steward.resources | nindent 8 }}
  volumes:
    - name: config
      configMap: {name: {{ include "scoreline.name" . }}}
    {{- if .Values.trust.keys }}
    - name: trust
      configMap: {name: {{ include "scoreline.name" . }}-trust}
    {{- end }}
    {{- with .Values.trust.configMap }}
    - name: trusted
      configMap: {name: {{ . }}}
    {{- end }}
    {{- with .Values.auditKey }}
    {{- if .name }}
    - name: audit
      secret:
        secretName: {{ .name }}
        defaultMode: 0440
        items:
          - {key: {{ .key }}, path: audit.key}
    {{- end }}
    {{- end }}
    {{- with .Values.tls.secret }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- with .Values.bundles.volume }}
    - name: bundles
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if not .Values.persistence.enabled }}
    - name: state
      emptyDir: {sizeLimit: {{ .Values.state.size }}}
    - name: spool
      emptyDir: {sizeLimit: {{ .Values.spool.size }}}
    {{- end }}
    # What workers count and the steward tells: a page of it waits for no disk.
    - name: shared
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
