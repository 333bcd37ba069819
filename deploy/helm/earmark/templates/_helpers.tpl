{{- define "earmark.name" -}}
{{- ternary .Release.Name (printf "%s-earmark" .Release.Name) (contains "earmark" .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* The labels that select the pods of one service: a dict of root and component. */ -}}
{{- define "earmark.selector" -}}
app.kubernetes.io/name: earmark
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "earmark.labels" -}}
{{ include "earmark.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "earmark.image" -}}
{{- with .root.Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ $.repository }}:{{ .tag | default $.root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "earmark.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "earmark.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* A variable from a key of a Secret: a list of name, Secret and key. */ -}}
{{- define "earmark.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end }}

{{- /* The variables of both services; `own` are those of one of them, which win. */ -}}
{{- define "earmark.environment" -}}
{{- $secret := required "existingSecret: name a Secret with database-url, object-store-url and trainer-secret" .root.Values.existingSecret -}}
{{ include "earmark.secretVariable" (list "EARMARK_OBJECT_STORE" $secret "object-store-url") }}
{{ include "earmark.secretVariable" (list "EARMARK_TRAINER_SECRET" $secret "trainer-secret") }}
{{- range $name, $value := mergeOverwrite (dict "EARMARK_METRICS_HOST" "0.0.0.0") .root.Values.objectStore.environment .root.Values.environment .own }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* Kubernetes' gRPC probes do not speak TLS. Where the port does, /healthz and /readyz say the same over HTTP. */ -}}
{{- define "earmark.probes" -}}
{{- $grpc := dict "grpc" (dict "port" .port) -}}
{{- $alive := ternary (dict "httpGet" (dict "path" "/healthz" "port" .monitoringPort)) $grpc .tls -}}
{{- $ready := ternary (dict "httpGet" (dict "path" "/readyz" "port" .monitoringPort)) $grpc .tls -}}
startupProbe:
  {{- toYaml $ready | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 60
readinessProbe:
  {{- toYaml $ready | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
livenessProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "earmark.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
